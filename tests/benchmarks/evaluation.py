"""Evaluation of many prompts of few rows, beside T0's way in PyTorch.

  python -m tests.benchmarks.evaluation --rows=FOLDER --vocabulary=FILE

FOLDER has `*.jsonl` files whose lines name a `dataset`, a `prompt`, `inputs`,
`choices` and a `target`. Of each prompt, every `--examples` rows become a task.
The network is T5 1.1 with random weights, in float32. The peer reads the same
rows and weights, and scores every choice with its input, as T0's evaluation
does. Needs the extra `hf`.
"""

import collections
import json
import pathlib
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import seqio
import torch
import transformers
from absl import app, flags

from moe_lite import evaluation
from moe_lite.data import catalog
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.process import allocator
from moe_lite.t5 import T5Config, Transformer
from tasks import prompted

ROWS = flags.DEFINE_string('rows', None, 'The folder of rows.', required=True)
VOCABULARY = flags.DEFINE_string(
  'vocabulary', None, "The file of T5's vocabulary.", required=True
)
EXAMPLES = flags.DEFINE_integer('examples', 16, 'Examples of each prompt.')
PROMPTS = flags.DEFINE_integer('prompts', None, 'How many; None takes all.')
BATCH = flags.DEFINE_integer('batch_size', 32, 'Rows of a batch.')
WIDTH = flags.DEFINE_integer('width', 512, 'The size of an embedding.')
DEPTH = flags.DEFINE_integer('layers', 8, 'Layers of each stack.')
KEEP_FREED = flags.DEFINE_bool(
  'keep_freed', True, 'Keep the memory that is freed, as commands do.'
)
PEER = flags.DEFINE_bool('peer', True, 'Whether to time the peer as well.')

LENGTHS = {'inputs': 512, 'targets': 256}
MIXTURE = 'benchmark_score_eval'


def read_prompts() -> dict[tuple[str, str], list[prompted.Example]]:
  found = collections.defaultdict(list)
  for path in sorted(pathlib.Path(ROWS.value).glob('*.jsonl')):
    for line in path.read_text().splitlines():
      row = json.loads(line)
      if row['target'] in row['choices']:
        example = prompted.Example(
          row['inputs'], row['target'], tuple(row['choices'])
        )
        found[row['dataset'], row['prompt']].append(example)
  size = EXAMPLES.value
  parts = {
    (dataset, f'{prompt} {start}'): examples[start : start + size]
    for (dataset, prompt), examples in sorted(found.items())
    for start in range(0, len(examples) - size + 1, size)
  }
  return dict(list(parts.items())[: PROMPTS.value])


def register(
  prompts: dict[tuple[str, str], list[prompted.Example]],
) -> list[str]:
  vocabulary = seqio.SentencePieceVocabulary(VOCABULARY.value)
  features = {
    'inputs': seqio.Feature(vocabulary, add_eos=False),
    'targets': seqio.Feature(vocabulary),
  }
  names = []
  for i, ((dataset, prompt), examples) in enumerate(prompts.items()):
    info = catalog.TaskInfo(
      name=f'benchmark_{i:03}',
      dataset=dataset,
      cluster='',
      template=prompt,
      chance=None,
      held_out=False,
    )
    prompted.add(
      info, lambda _, examples=examples: examples, ('validation',), features
    )
    names.append(info.name + catalog.SCORE_EVAL)
  seqio.MixtureRegistry.add(MIXTURE, [(name, 1) for name in names])
  return names


def their_network() -> transformers.T5ForConditionalGeneration:
  torch.manual_seed(0)
  config = transformers.T5Config(
    vocab_size=32128,
    d_model=WIDTH.value,
    d_kv=64,
    d_ff=2 * WIDTH.value,
    num_heads=max(WIDTH.value // 85, 1),
    num_layers=DEPTH.value,
    num_decoder_layers=DEPTH.value,
    feed_forward_proj='gated-gelu',
    tie_word_embeddings=False,
    decoder_start_token_id=0,
  )
  return transformers.T5ForConditionalGeneration(config).eval()


def our_model(config: transformers.T5Config) -> EncoderDecoderModel:
  return EncoderDecoderModel(
    Transformer(
      T5Config(
        vocab_size=config.vocab_size,
        emb_dim=config.d_model,
        head_dim=config.d_kv,
        num_heads=config.num_heads,
        mlp_dim=config.d_ff,
        num_encoder_layers=config.num_layers,
        num_decoder_layers=config.num_layers,
        scan_layers=True,
      )
    )
  )


def theirs(
  network: transformers.T5ForConditionalGeneration,
  prompts: Sequence[Sequence[prompted.Example]],
) -> list[float]:
  """The accuracies of the prompts: every choice is scored with its input."""
  vocabulary = seqio.SentencePieceVocabulary(VOCABULARY.value).tokenizer
  accuracies = []
  for examples in prompts:
    correct = 0
    for start in range(0, len(examples), 8):
      batch = examples[start : start + 8]
      pairs = [(x.inputs, choice) for x in batch for choice in x.choices]
      ids = [tuple(map(vocabulary.EncodeAsIds, pair)) for pair in pairs]
      inputs = [x[: LENGTHS['inputs']] for x, _ in ids]
      targets = [[*y[: LENGTHS['targets'] - 1], 1] for _, y in ids]
      scores = their_scores(network, inputs, targets)
      for x in batch:
        mine, scores = scores[: len(x.choices)], scores[len(x.choices) :]
        correct += x.choices[int(np.argmax(mine))] == x.target
    accuracies.append(100 * correct / len(examples))
  return accuracies


def their_scores(network: Any, inputs: list, targets: list) -> np.ndarray:
  """Log-probabilities of targets, [B]; rows are padded to the longest."""
  pad = lambda rows, value: torch.nn.utils.rnn.pad_sequence(
    [torch.tensor(row) for row in rows], True, value
  )
  ids, labels = pad(inputs, 0), pad(targets, -100)
  with torch.no_grad():
    logits = network(
      input_ids=ids, attention_mask=(ids != 0).long(), labels=labels
    ).logits
  logs = torch.log_softmax(logits, -1)
  mask = labels != -100
  found = logs.gather(-1, labels.clamp(min=0)[..., None])[..., 0]
  return (found * mask).sum(-1).numpy()


def main(argv: list[str]) -> None:
  del argv
  if KEEP_FREED.value:
    allocator.keep_freed()
  prompts = read_prompts()
  names = register(prompts)
  network = their_network()
  seconds, accuracies = {}, {}
  with tempfile.TemporaryDirectory() as folder:
    # As for a user: what is compiled the first time is not compiled again.
    jax.config.update('jax_compilation_cache_dir', f'{folder}/compiled')
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.1)
    network.save_pretrained(f'{folder}/base')
    for name in ('first', 'again'):
      start = time.perf_counter()
      found = evaluation.evaluate(
        model=our_model(network.config),
        checkpoint_path='base',
        output_dir=f'{folder}/{name}',
        mixture_or_task_name=MIXTURE,
        task_feature_lengths=LENGTHS,
        initial_checkpoint_path=f'{folder}/base',
        base_dtype='float32',
        batch_size=BATCH.value,
      )
      seconds[name] = time.perf_counter() - start
      by_task = {task.task: task.value for task in found.tasks}
      accuracies[name] = [by_task[task] for task in names]
  if PEER.value:
    start = time.perf_counter()
    accuracies['peer'] = theirs(network, list(prompts.values()))
    seconds['peer'] = time.perf_counter() - start
  print(
    json.dumps(
      {
        'prompts': len(prompts),
        'examples': sum(map(len, prompts.values())),
        'choices': sum(len(x.choices) for y in prompts.values() for x in y),
        'ms_a_prompt': {k: 1000 * s / len(prompts) for k, s in seconds.items()},
        'prompts_with_other_accuracy': {
          key: int(np.sum(~np.isclose(values, accuracies['first'])))
          for key, values in accuracies.items()
        },
        'jax': jax.__version__,
        'torch': torch.__version__,
      }
    )
  )
  print(f'{torch.get_num_threads()} threads of torch', file=sys.stderr)


if __name__ == '__main__':
  app.run(main)
