"""Networks in JSON and in words."""

import functools

import pytest

from moe_lite import adapters, networks, routing
from moe_lite.checkpoints import portable
from moe_lite.t5 import T5Config

SIZES = {
  'vocab_size': 64,
  'emb_dim': 16,
  'num_heads': 2,
  'head_dim': 4,
  'mlp_dim': 24,
  'num_encoder_layers': 1,
  'num_decoder_layers': 1,
}


def config(router=routing.SoftRouter, **fields):
  router = functools.partial(router, **fields)
  return T5Config(
    **SIZES,
    adapters={'key': functools.partial(adapters.MoV, router=router)},
  )


def test_a_method_keeps_the_description_of_earlier_versions():
  described = networks.describe_method(config(routing.TopKRouter))
  assert described == {
    'key': 'MoV(num_experts=10, router=TopKRouter(num_experts=10, jitter=0.0, '
    "k=2, renormalize=True), router_reads='outputs')"
  }


@pytest.mark.parametrize(
  ('router', 'fields'),
  [
    (routing.SoftRouter, {'temperature': 0.5}),
    (routing.TopKRouter, {'dropout': 0.1, 'k': 3}),
    (routing.SoftRouter, {'expert_dropout': 0.2}),
    (routing.SoftRouter, {'sentence': 'encoded'}),
    (routing.UniformRouter, {}),
    (routing.HashRouter, {'seed': 3}),
  ],
)
def test_what_differs_is_described_and_built_again(router, fields):
  made = config(router, **fields)
  described = networks.describe_method(made)
  assert described != networks.describe_method(config())
  again = networks.from_json(networks.to_json(made))
  assert networks.describe_method(again) == described
  assert again.context_needs == made.context_needs


@pytest.mark.parametrize(
  ('made', 'fits'),
  [
    (config(), True),
    (config(temperature=0.5), False),
    (config(sentence='inputs'), False),
    (config(routing.HashRouter), False),
  ],
)
def test_the_file_for_torch_goes_with_what_it_knows_alone(made, fits):
  described = {'network': networks.to_json(made)}
  assert portable._fits_torch({}, described) == fits
