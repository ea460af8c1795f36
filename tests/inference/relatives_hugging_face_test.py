"""mT5 and ByT5 as transformers writes them: equal numbers, and they train."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

import moe_lite
import tests.tiny_task  # noqa: F401  registers the tasks
from moe_lite import adapters
from moe_lite.checkpoints import bases, runs
from moe_lite.core import parameters
from moe_lite.data.dataset import Dataset
from moe_lite.inference.vocabulary import Bytes
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.t5 import Transformer
from moe_lite.training import loop, optimizers

torch = pytest.importorskip('torch', reason='needs the extra `hf`: torch')
transformers = pytest.importorskip(
  'transformers', reason='needs the extra `hf`: transformers'
)

pytestmark = pytest.mark.hf

TEXTS = ['Is a robin a bird?', 'Wer hat den Schlüssel?']
SIZES = {
  'vocab_size': 384,
  'd_model': 32,
  'd_kv': 8,
  'd_ff': 64,
  'num_layers': 3,
  'num_decoder_layers': 1,
  'num_heads': 4,
  'decoder_start_token_id': 0,
}


def write(kind, folder):
  """A model with random weights, saved by transformers."""
  torch.manual_seed(0)
  if kind == 'mt5':
    config = transformers.MT5Config(**SIZES, tie_word_embeddings=False)
    network = transformers.MT5ForConditionalGeneration(config)
  else:
    config = transformers.T5Config(
      **SIZES, feed_forward_proj='gated-gelu', tie_word_embeddings=False
    )
    network = transformers.T5ForConditionalGeneration(config)
  network.eval().save_pretrained(folder)
  (folder / 'tokenizer_config.json').write_text(
    json.dumps({'tokenizer_class': 'ByT5Tokenizer', 'extra_ids': 125})
  )
  return network


@pytest.mark.parametrize('kind', ['mt5', 'byt5'])
def test_numbers_are_those_of_transformers(tmp_path, kind):
  theirs, tokenizer = write(kind, tmp_path), transformers.ByT5Tokenizer()
  ours = moe_lite.load(str(tmp_path))
  assert isinstance(ours.vocabulary, Bytes)
  for text in TEXTS:
    ids = tokenizer.encode(text)
    assert [*ours.vocabulary.encode(text), 1] == ids
    encoded = torch.tensor([ids])
    (outputs,) = theirs.generate(encoded, max_new_tokens=10, do_sample=False)
    answer = ours.vocabulary.decode(outputs.tolist()[1:])
    assert ours.generate(text, 10) == answer
    for choice, score in zip(
      ('ja', 'no'), ours.score(text, ['ja', 'no']), strict=True
    ):
      labels = torch.tensor([tokenizer.encode(choice)])
      loss = theirs(input_ids=encoded, labels=labels).loss.item()
      assert score == pytest.approx(-loss * labels.numel(), rel=1e-4)

  config = bases.network(str(tmp_path))
  model = EncoderDecoderModel(Transformer(config))
  wanted = model.abstract_variables()['params']
  params, _ = bases.load_base(str(tmp_path), wanted, config)
  targets = np.array([[0, 5, 6, 7]])
  logits = model.logits(
    params,
    {
      'encoder_input_tokens': jnp.array([ids]),
      'decoder_input_tokens': jnp.array(targets),
      'decoder_target_tokens': jnp.array([[5, 6, 7, 1]]),
    },
  )
  expected = theirs(
    input_ids=encoded, decoder_input_ids=torch.tensor(targets)
  ).logits.detach()
  np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('kind', ['mt5', 'byt5'])
def test_adapters_train_on_them(tmp_path, kind):
  folder, run = tmp_path / 'theirs', tmp_path / 'run'
  write(kind, folder)
  config = dataclasses.replace(
    bases.network(str(folder)), adapters={'key': adapters.MoV}
  )
  loop.train(
    EncoderDecoderModel(Transformer(config)),
    str(run),
    Dataset('tiny_task', {'inputs': 32, 'targets': 16}, batch_size=4),
    optimizers.adafactor,
    optimizers.constant(0.05),
    train_steps=6,
    initial_checkpoint_path=str(folder),
    base_dtype='float32',
    log_period=2,
  )
  lines = (run / 'metrics.jsonl').read_text().splitlines()
  losses = [json.loads(line)['loss'] for line in lines]
  assert losses[-1] < losses[0]
  tree, _ = runs.restore_trainable(str(run))
  assert all(map(parameters.is_adapter, parameters.flatten(tree)))
  assert np.isfinite(
    moe_lite.load(str(folder), str(run)).score('a', ['b'])
  ).all()
