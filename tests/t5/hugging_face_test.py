"""The network against Hugging Face's T5 with the same random weights."""

import numpy as np
import pytest

from moe_lite import parameters
from moe_lite.models import EncoderDecoderModel
from moe_lite.t5 import T5Config, Transformer

torch = pytest.importorskip('torch', reason='needs the extra `hf`: torch')
transformers = pytest.importorskip(
  'transformers', reason='needs the extra `hf`: transformers'
)

pytestmark = pytest.mark.hf

SIZES = {
  'vocab_size': 384,
  'emb_dim': 32,
  'num_heads': 2,
  'head_dim': 16,
  'mlp_dim': 64,
  'num_encoder_layers': 2,
  'num_decoder_layers': 2,
}
# T5 1.1 and 1.0: their feed-forward layers, and whether the head is tied.
VERSIONS = {
  '1.1': ('gated-gelu', ('gelu', 'linear'), False),
  '1.0': ('relu', ('relu',), True),
}
ATTENTION = {'q': 'query', 'k': 'key', 'v': 'value', 'o': 'out'}
# Their name of a layer's module, by its position in the block.
BLOCKS = {
  'encoder': (
    ('SelfAttention', 'attention', 'pre_attention_layer_norm'),
    ('DenseReluDense', 'mlp', 'pre_mlp_layer_norm'),
  ),
  'decoder': (
    ('SelfAttention', 'self_attention', 'pre_self_attention_layer_norm'),
    (
      'EncDecAttention',
      'encoder_decoder_attention',
      'pre_cross_attention_layer_norm',
    ),
    ('DenseReluDense', 'mlp', 'pre_mlp_layer_norm'),
  ),
}


def their_network(version):
  feed_forward, _, tied = VERSIONS[version]
  torch.manual_seed(0)
  network = transformers.T5ForConditionalGeneration(
    transformers.T5Config(
      vocab_size=SIZES['vocab_size'],
      d_model=SIZES['emb_dim'],
      d_kv=SIZES['head_dim'],
      d_ff=SIZES['mlp_dim'],
      num_heads=SIZES['num_heads'],
      num_layers=SIZES['num_encoder_layers'],
      num_decoder_layers=SIZES['num_decoder_layers'],
      feed_forward_proj=feed_forward,
      tie_word_embeddings=tied,
      dropout_rate=0.0,
    )
  )
  if not tied:
    # Transformers 5 may tie the head whatever the configuration says.
    head = torch.randn(SIZES['vocab_size'], SIZES['emb_dim'])
    head *= SIZES['emb_dim'] ** -0.5
    network.lm_head.weight = torch.nn.Parameter(head)
  return network.eval()


def our_params(network, tied):
  """Their weights under our paths: kernels transposed, [in, out]."""
  theirs = {k: v.detach().numpy() for k, v in network.state_dict().items()}
  ours = {'token_embedder/embedding': theirs['shared.weight']}
  for stack, layers in BLOCKS.items():
    bias = 'block.0.layer.0.SelfAttention.relative_attention_bias.weight'
    ours[f'{stack}/relpos_bias/rel_embedding'] = theirs[f'{stack}.{bias}'].T
    ours[f'{stack}/{stack}_norm/scale'] = theirs[
      f'{stack}.final_layer_norm.weight'
    ]
    for i in range(SIZES[f'num_{stack}_layers']):
      for j, (module, name, norm) in enumerate(layers):
        prefix = f'{stack}.block.{i}.layer.{j}'
        ours[f'{stack}/layers_{i}/{norm}/scale'] = theirs[
          f'{prefix}.layer_norm.weight'
        ]
        for key, weight in theirs.items():
          if not key.startswith(f'{prefix}.{module}.') or 'bias' in key:
            continue
          site = key.split('.')[-2]
          site = ATTENTION.get(site, site)
          ours[f'{stack}/layers_{i}/{name}/{site}/kernel'] = weight.T
  if not tied:
    ours['decoder/logits_dense/kernel'] = theirs['lm_head.weight'].T
  return parameters.unflatten(ours)


@pytest.mark.parametrize('scan_layers', [False, True], ids=['loop', 'scan'])
@pytest.mark.parametrize('version', VERSIONS)
def test_logits_are_those_of_hugging_face(version, scan_layers):
  _, activations, tied = VERSIONS[version]
  theirs = their_network(version)
  config = T5Config(
    **SIZES,
    mlp_activations=activations,
    logits_via_embedding=tied,
    scan_layers=scan_layers,
    adapters={},
  )
  model = EncoderDecoderModel(Transformer(config))
  params = parameters.like_network(our_params(theirs, tied), scan_layers)
  shapes = lambda tree: {
    path: leaf.shape for path, leaf in parameters.flatten(tree).items()
  }
  assert shapes(params) == shapes(model.abstract_variables()['params'])
  rng = np.random.default_rng(0)
  inputs = rng.integers(3, SIZES['vocab_size'], (3, 40))
  inputs[0, 30:] = 0  # Padding.
  targets = rng.integers(3, SIZES['vocab_size'], (3, 9))
  shifted = np.pad(targets, ((0, 0), (1, 0)))[:, :-1]
  with torch.no_grad():
    wanted = theirs(
      input_ids=torch.tensor(inputs),
      attention_mask=torch.tensor(inputs > 0).long(),
      decoder_input_ids=torch.tensor(shifted),
    ).logits.numpy()
  logits = model.logits(
    params,
    {
      'encoder_input_tokens': inputs,
      'decoder_input_tokens': shifted,
      'decoder_target_tokens': targets,
    },
  )
  assert np.abs(wanted).max() > 1
  np.testing.assert_allclose(logits, wanted, atol=1e-4, rtol=0)
