"""Predictions for the inputs of a SeqIO task, or of a file.

`predictions.jsonl` holds an object on each line, with `inputs` and
`prediction`, and `targets` where the task has them. It is written batch after
batch, in the order of the inputs. A second call with the same settings goes on
where the first one stopped.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from moe_lite.core import (
  json_files,
  json_lines,
  json_text,
  locks,
  parameters,
  partitioning,
  progress,
)
from moe_lite.core.errors import UserError
from moe_lite.core.files import set_aside
from moe_lite.core.progress import say
from moe_lite.data import dataset
from moe_lite.data.task_ids import numbers_for
from moe_lite.inference import inputs
from moe_lite.inference.generation import describe_decoder
from moe_lite.inference.lines import PREDICT, SCORE, Predict
from moe_lite.inference.padding import Shapes
from moe_lite.inference.source import ModelSource
from moe_lite.models import decoding
from moe_lite.models.model import EncoderDecoderModel

PREDICTIONS = 'predictions.jsonl'
SETTINGS = 'infer.json'


def infer(
  model: EncoderDecoderModel,
  checkpoint_path: str,
  output_dir: str,
  mixture_or_task_name: str,
  task_feature_lengths: Mapping[str, int],
  initial_checkpoint_path: str,
  input_path: str | None = None,
  trainable: str = parameters.TRAINABLE_ADAPTERS,
  base_dtype: str = 'bfloat16',
  mesh: partitioning.MeshShape = None,
  fully_sharded: bool = False,
  step: int | None = None,
  split: str = 'validation',
  batch_size: int = 32,
  use_cached: bool = False,
  decode_fn: Callable[..., Any] = decoding.greedy,
  num_decodes: int = 1,
  seed: int = 0,
  mode: str = PREDICT,
  num_shards: int = 1,
  shard_id: int = 0,
) -> None:
  """Writes predictions, or goes on writing them, into `output_dir`.

  Args:
    model: see `ModelSource`.
    checkpoint_path: see `ModelSource`.
    output_dir: the folder that gets `predictions.jsonl` and `infer.json`.
    mixture_or_task_name: the task to read. Its vocabulary also reads the inputs
      of `input_path`.
    task_feature_lengths: {'inputs': L, 'targets': T}; inputs are trimmed to L
      ids, and outputs end after T ids.
    initial_checkpoint_path: see `ModelSource`.
    input_path: a text file with an input on each line, or a .jsonl file with
      `inputs` in every object; None reads the task.
    trainable: see `ModelSource`.
    base_dtype: see `ModelSource`.
    mesh: see `ModelSource`.
    fully_sharded: see `ModelSource`.
    step: see `ModelSource`.
    split: the split of the task.
    batch_size: the number of inputs in a batch.
    use_cached: whether to read what `seqio_cache_tasks` wrote.
    decode_fn: how to decode; see `models.decoding`.
    num_decodes: the number of beams of a beam search, or of draws. If it is not
      1, a line has all of them as `predictions`.
    seed: the seed of draws.
    mode: 'predict'; 'predict_with_aux' for predictions with `scores`; or
      'score' for the `score` of each target. A score is the log-probability of
      a text given its input, summed over its tokens, EOS included where the
      text was not cut off.
    num_shards: how many commands share the inputs. Each takes a part of them,
      and writes it to `output_dir`/shard_I_of_N.
    shard_id: which part this command takes, from 0.

  Raises:
    UserError: if something that the configuration names is missing, or does not
      fit the rest.
  """
  if isinstance(step, str):
    raise UserError(
      f'CHECKPOINT_STEP = {step!r} is of evaluations; a prediction takes one '
      'checkpoint.'
    )
  if not 0 <= shard_id < num_shards:
    raise UserError(
      f'SHARD_ID = {shard_id} must be less than NUM_SHARDS = {num_shards}.'
    )
  if num_shards > 1:
    output_dir = f'{output_dir}/shard_{shard_id}_of_{num_shards}'
  with locks.owned(output_dir, 'INFER_OUTPUT_DIR', 'A prediction'):
    provider = dataset.find(mixture_or_task_name)
    dataset.check_vocabulary(provider, model.module.config.vocab_size)
    if input_path is None:
      dataset.check_split(provider, split, use_cached)
      examples = inputs.of_task(
        provider, split, task_feature_lengths, use_cached
      )
    else:
      feature = provider.output_features['inputs']
      examples = inputs.of_file(
        input_path, feature, task_feature_lengths['inputs']
      )
    if not examples:
      raise UserError(f'{input_path or provider.name} holds no inputs.')
    if len(examples) < num_shards:
      raise UserError(
        f'NUM_SHARDS = {num_shards} is more than the {len(examples)} inputs '
        f'of {input_path or provider.name}.'
      )
    examples = inputs.shard(examples, num_shards, shard_id)
    if mode == SCORE and any(example.targets is None for example in examples):
      raise UserError(
        f'INFER_MODE = {mode!r} scores the targets of a task, and {input_path} '
        'has inputs alone.'
      )
    trained = ModelSource(
      model,
      checkpoint_path,
      initial_checkpoint_path,
      trainable,
      base_dtype,
      mesh,
      step,
      fully_sharded,
    ).load()
    if trained.tasks is not None:
      known = numbers_for(provider, trained.tasks)
      examples = inputs.of_number(examples, known[provider.name])
    settings = {
      'checkpoint': trained.facts.to_json(),
      'input': input_path or f'{mixture_or_task_name}, {split}',
      'examples': len(examples),
      'examples_hash': inputs.fingerprint(examples),
      'task_feature_lengths': dict(task_feature_lengths),
      'batch_size': batch_size,
      'base_dtype': base_dtype,
      'activation_dtype': str(model.module.config.dtype),
      'decoder': describe_decoder(decode_fn),
      'num_decodes': num_decodes,
      'seed': seed,
      'mode': mode,
    }
    folder = epath.Path(output_dir)
    vocabulary = provider.output_features['targets'].vocabulary
    shapes = Shapes(
      batch_size,
      task_feature_lengths['inputs'],
      task_feature_lengths['targets'],
      parts=trained.mesh.shape['data'],
    ).for_examples(len(examples))
    predict = Predict(
      trained, shapes, decode_fn, num_decodes, seed, mode, vocabulary
    )
    done, lines = _open(folder, settings, batch_size)
    say(
      f'{len(examples)} inputs of {settings["input"]}'
      + (f', {done} of them done before' if done else '')
    )
    if done < len(examples):
      _write(lines, len(examples), done, predict(examples, done))
    say(f'Predictions are in {folder / PREDICTIONS}.')


def _write(
  file: json_lines.Lines | None,
  total: int,
  done: int,
  batches: Iterable[Sequence[Mapping[str, Any]]],
) -> None:
  """Appends lines to those of the first `done` examples, batch after batch."""
  bar = progress.Progress(total, done, unit='input')
  try:
    for batch in batches:
      if file is not None:
        file.append([json_text.dumps(x, ensure_ascii=False) for x in batch])
      for _ in batch:
        bar.advance()
      bar.report()
  finally:
    bar.close()


def _open(
  folder: epath.Path, settings: Mapping[str, Any], batch_size: int
) -> tuple[int, json_lines.Lines | None]:
  """Opens the file, and keeps what a call with the same settings predicted.

  Returns:
    The number of predictions that are kept, and the file. Process 0 alone has
    the file.
  """
  if folder.is_file():
    raise UserError(f'INFER_OUTPUT_DIR = {str(folder)!r} is a file.')
  done, lines = 0, None
  if jax.process_index() == 0:
    folder.mkdir(parents=True, exist_ok=True)
    path, note = folder / PREDICTIONS, folder / SETTINGS
    before = _read(path, note, settings)
    # Only whole batches are kept, so that a resumed call draws what an
    # uninterrupted one would have drawn.
    is_whole = len(before) == settings['examples']
    done = len(before) if is_whole else _floor(len(before), batch_size)
    lines = json_lines.Lines(path, done)
    json_files.write(note, settings)
  if jax.process_count() > 1:
    done = int(multihost_utils.broadcast_one_to_all(np.int32(done)))
  return done, lines


def _read(
  path: epath.Path, note: epath.Path, settings: Mapping[str, Any]
) -> list[dict[str, Any]]:
  """Returns the predictions of a call with the same settings, if there are any.

  Damaged ones are set aside.
  """
  if not path.exists():
    return []
  try:
    said = json_files.read(note) if note.exists() else None
    before = json_lines.read(path)
  except UserError as error:
    say(f'{error} Predicting anew; {set_aside(path)} has what was there.')
    return []
  if said != _as_read(settings):
    say(f'{path} is of another checkpoint or other settings: replacing it.')
    return []
  return before


def _as_read(settings: Mapping[str, Any]) -> dict[str, Any]:
  """The settings as their file gives them back."""
  return json.loads(json_text.dumps(settings))


def _floor(count: int, size: int) -> int:
  return count - count % size
