"""Hugging Face's T5 with random weights, and our network of the same sizes."""

import numpy as np
import pytest

from moe_lite.checkpoints.bases import load_base
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.t5 import T5Config, Transformer

torch = pytest.importorskip('torch', reason='needs the extra `hf`: torch')
transformers = pytest.importorskip(
  'transformers', reason='needs the extra `hf`: transformers'
)

SIZES = {
  'vocab_size': 384,
  'emb_dim': 32,
  'num_heads': 2,
  'head_dim': 16,
  'mlp_dim': 64,
  'num_encoder_layers': 2,
  'num_decoder_layers': 3,
}
# Feed-forward layers, theirs and ours, and whether the head is tied.
VERSIONS = {
  '1.0': ('relu', ('relu',), True),
  '1.1': ('gated-gelu', ('gelu', 'linear'), False),
  'relu, untied': ('relu', ('relu',), False),
  'gated, tied': ('gated-gelu', ('gelu', 'linear'), True),
}


def our_config(version, **changes):
  _, activations, tied = VERSIONS[version]
  return T5Config(
    **{
      **SIZES,
      'mlp_activations': activations,
      'logits_via_embedding': tied,
      **changes,
    }
  )


def load_ours(folder, config):
  """Our model on a folder of theirs, and its parameters."""
  model = EncoderDecoderModel(Transformer(config))
  wanted = model.abstract_variables()['params']
  return model, load_base(str(folder), wanted, config)[0]


def their_network(version, **changes):
  """Of `SIZES`, but for `changes`."""
  feed_forward, _, tied = VERSIONS[version]
  sizes = {**SIZES, **changes}
  torch.manual_seed(0)
  network = transformers.T5ForConditionalGeneration(
    transformers.T5Config(
      vocab_size=sizes['vocab_size'],
      d_model=sizes['emb_dim'],
      d_kv=sizes['head_dim'],
      d_ff=sizes['mlp_dim'],
      num_heads=sizes['num_heads'],
      num_layers=sizes['num_encoder_layers'],
      num_decoder_layers=sizes['num_decoder_layers'],
      feed_forward_proj=feed_forward,
      tie_word_embeddings=tied,
      dropout_rate=0.0,
      decoder_start_token_id=0,
    )
  )
  for name, weight in network.named_parameters():
    if name.endswith('norm.weight'):  # Ones would hide one that is not read.
      weight.data.uniform_(0.5, 1.5)
    if name.endswith(('.o.weight', '.wo.weight')):  # Else tokens repeat.
      weight.data *= 8
  if not tied:
    # Transformers 5 may tie the head whatever the configuration says.
    head = torch.randn(sizes['vocab_size'], sizes['emb_dim'])
    head *= sizes['emb_dim'] ** -0.5
    network.lm_head.weight = torch.nn.Parameter(head)
  return network.eval()


def tokens(seed=0):
  rng = np.random.default_rng(seed)
  inputs = rng.integers(3, SIZES['vocab_size'], (3, 40))
  inputs[0, 30:] = 0  # Padding.
  targets = rng.integers(3, SIZES['vocab_size'], (3, 9))
  return inputs, targets, np.pad(targets, ((0, 0), (1, 0)))[:, :-1]


def their_logits(network):
  inputs, _, shifted = tokens()
  with torch.no_grad():
    return network(
      input_ids=torch.tensor(inputs),
      attention_mask=torch.tensor(inputs > 0).long(),
      decoder_input_ids=torch.tensor(shifted),
    ).logits.numpy()


def our_logits(model, params):
  inputs, targets, shifted = tokens()
  return model.logits(
    params,
    {
      'encoder_input_tokens': inputs,
      'decoder_input_tokens': shifted,
      'decoder_target_tokens': targets,
    },
  )


def assert_close(ours, theirs):
  assert np.abs(theirs).max() > 1
  np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=0)


def assert_greedy_tokens_equal(theirs, model, params, length):
  """The first `length` tokens after each of `tokens`' inputs."""
  inputs, _, _ = tokens()
  generated = theirs.generate(
    input_ids=torch.tensor(inputs),
    attention_mask=torch.tensor(inputs > 0).long(),
    max_new_tokens=length,
    do_sample=False,
    num_beams=1,
    # Theirs counts the encoder's layers, not the decoder's.
    use_cache=False,
  ).numpy()[:, 1:]
  wanted = np.zeros((len(inputs), length), np.int32)
  wanted[:, : generated.shape[1]] = generated
  assert len(np.unique(wanted)) > 1
  batch = {
    'encoder_input_tokens': inputs,
    'decoder_input_tokens': np.zeros((len(inputs), length), np.int32),
  }
  np.testing.assert_array_equal(model.predict_batch(params, batch), wanted)
