"""Greedy decoding beside Hugging Face's `generate`, on the same weights.

  python -m tests.benchmarks.decoding [--rows=8] [--inputs=512] [--outputs=32]

The network is T5 1.1 small with random weights, in float32. Both libraries must
give the same tokens. Needs the extra `hf`.
"""

import functools
import statistics
import sys
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import torch
import transformers
from absl import app, flags

from moe_lite.checkpoints.bases import load_base
from moe_lite.core import parameters, partitioning
from moe_lite.models import layout
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.process import allocator
from moe_lite.t5 import T5Config, Transformer
from tests.benchmarks.contestant import Contestant, interleave

ROWS = flags.DEFINE_integer('rows', 8, 'The number of inputs.')
INPUTS = flags.DEFINE_integer('inputs', 512, 'The length of inputs.')
OUTPUTS = flags.DEFINE_integer('outputs', 32, 'The length of outputs.')
REPEATS = flags.DEFINE_integer('repeats', 5, 'The number of rounds.')
KEEP_FREED = flags.DEFINE_bool(
  'keep_freed', True, 'Keep the memory that is freed, as commands do.'
)
ATTENTION = flags.DEFINE_string('attention', 'auto', 'auto, plain or blocks.')
DEPTH = flags.DEFINE_integer('layers', 8, 'The number of layers of each stack.')

SIZES = {'d_model': 512, 'd_kv': 64, 'd_ff': 1024, 'num_heads': 6}


def their_network() -> transformers.T5ForConditionalGeneration:
  torch.manual_seed(0)
  config = transformers.T5Config(
    vocab_size=32128,
    num_layers=DEPTH.value,
    num_decoder_layers=DEPTH.value,
    feed_forward_proj='gated-gelu',
    tie_word_embeddings=False,
    decoder_start_token_id=0,
    **SIZES,
  )
  network = transformers.T5ForConditionalGeneration(config).eval()
  # Larger weights than it begins with, so that outputs depend on inputs.
  with torch.no_grad():
    for name, weight in network.named_parameters():
      if weight.ndim == 2 and 'embed' not in name and 'shared' not in name:
        weight.mul_(3)
  return network


def ours(folder: str, scan_layers: bool):
  config = T5Config(
    vocab_size=32128,
    emb_dim=SIZES['d_model'],
    head_dim=SIZES['d_kv'],
    num_heads=SIZES['num_heads'],
    mlp_dim=SIZES['d_ff'],
    num_encoder_layers=DEPTH.value,
    num_decoder_layers=DEPTH.value,
    scan_layers=scan_layers,
    attention=ATTENTION.value,
  )
  model = EncoderDecoderModel(Transformer(config))
  where = layout.layout(
    model, parameters.EVERYTHING, partitioning.make_mesh((1, 1))
  )
  params = load_base(folder, where.hold('float32'), config)[0]
  return jax.jit(model.predict_batch), jax.jit(model.encode), params


def main(argv: list[str]) -> None:
  del argv
  if KEEP_FREED.value:
    allocator.keep_freed()
  ids = np.random.default_rng(0).integers(2, 32000, (ROWS.value, INPUTS.value))
  device = 'cuda' if torch.cuda.is_available() else 'cpu'
  network = their_network().to(device)
  tokens = torch.as_tensor(ids, device=device)
  generate = functools.partial(
    network.generate,
    tokens,
    attention_mask=torch.ones_like(tokens),
    max_new_tokens=OUTPUTS.value,
    do_sample=False,
    num_beams=1,
  )
  found, contestants = {}, []

  def theirs() -> None:
    with torch.no_grad():
      found['Hugging Face'] = generate().cpu().numpy()[:, 1:]

  def encode() -> None:
    with torch.no_grad():
      network.encoder(tokens).last_hidden_state.cpu()

  contestants += [
    Contestant('Hugging Face', '', theirs, {}),
    Contestant('Hugging Face', 'encoder', encode, {}),
  ]
  batch = {
    'encoder_input_tokens': jnp.asarray(ids, jnp.int32),
    'decoder_input_tokens': jnp.zeros((ROWS.value, OUTPUTS.value), jnp.int32),
  }
  with tempfile.TemporaryDirectory() as folder:
    network.save_pretrained(folder)
    for form in ('loop', 'scan'):
      predict, encode_ours, params = ours(folder, form == 'scan')

      def decode(predict=predict, params=params, form=form) -> None:
        found[form] = np.asarray(predict(params, batch))

      def only_encode(encode=encode_ours, params=params) -> None:
        encode(params, batch).block_until_ready()

      contestants += [
        Contestant(form, '', decode, {}),
        Contestant(form, 'encoder', only_encode, {}),
      ]
  times = interleave(contestants, REPEATS.value)
  seconds = {
    (c.library, c.method): statistics.median(t)
    for c, t in zip(contestants, times, strict=True)
  }
  theirs_total = seconds['Hugging Face', '']
  print('| | seconds | over theirs | ms a token after encoding | same tokens |')
  print('|---|---:|---:|---:|---|')
  for name in ('Hugging Face', 'loop', 'scan'):
    total = seconds[name, '']
    token = 1000 * (total - seconds[name, 'encoder']) / OUTPUTS.value
    same = np.array_equal(found[name], found['Hugging Face'])
    print(
      f'| {name} | {total:.3f} | {total / theirs_total:.2f} | {token:.1f} | '
      f'{"yes" if same else "NO"} |'
    )
  print(f'jax {jax.__version__}, torch {torch.__version__}', file=sys.stderr)
  print(f'different tokens: {len(np.unique(found["scan"]))}', file=sys.stderr)


if __name__ == '__main__':
  app.run(main)
