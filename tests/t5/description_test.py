"""Networks in JSON and in words, and what a file of somebody's may ask for."""

import dataclasses
import functools
import json
import sys

import pytest

from moe_lite import adapters, routing
from moe_lite.checkpoints import torch_file
from moe_lite.core.errors import UserError
from moe_lite.t5 import description
from tests import tiny


class Doubled(adapters.IA3):
  """An adapter of another package."""

  factor: float = 2.0


STANDING = {
  'key': functools.partial(adapters.MoV, num_experts=3),
  'wo': functools.partial(
    adapters.MoLoRA,
    num_experts=2,
    alpha=8.0,
    router=functools.partial(routing.TopKRouter, k=1, renormalize=False),
  ),
  'out': functools.partial(Doubled, factor=3.0),
}


def test_a_network_is_built_again():
  config = dataclasses.replace(tiny.model().module.config, adapters=STANDING)
  described = json.loads(json.dumps(description.to_json(config)))
  built = description.from_json(described)
  assert description.to_json(built) == description.to_json(config)
  assert description.describe_method(built) == description.describe_method(
    config
  )
  assert described['adapters']['out']['type'] == f'{__name__}.Doubled'


@pytest.mark.parametrize(
  'name', ['this.s', 'subprocess.Popen', 'SITES', 'joined', 'nowhere.MoV']
)
def test_a_file_imports_and_calls_nothing(name, capsys):
  sys.modules.pop('this', None)
  config = description.to_json(tiny.model().module.config)
  described = {**config, 'adapters': {'key': {'type': name, 'args': 'ls'}}}
  with pytest.raises(UserError, match=f'{name} is not an adapter or router'):
    description.from_json(described)
  assert 'this' not in sys.modules and not capsys.readouterr().out


def config(router=routing.SoftRouter, **fields):
  router = functools.partial(router, **fields)
  return dataclasses.replace(
    tiny.model().module.config,
    adapters={'key': functools.partial(adapters.MoV, router=router)},
  )


def test_a_method_keeps_the_description_of_earlier_versions():
  described = description.describe_method(config(routing.TopKRouter))
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
  described = description.describe_method(made)
  assert described != description.describe_method(config())
  again = description.from_json(description.to_json(made))
  assert description.describe_method(again) == described
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
  assert torch_file.serves([], description.to_json(made)) == fits


def test_a_shared_decision_is_described_and_built_again():
  decision = functools.partial(routing.Decision, num_experts=10)
  router = functools.partial(adapters.MoV, router=routing.SharedRouter)
  shared = dataclasses.replace(
    config(), adapters={'key': router}, decisions={'stack': decision}
  )
  described = description.describe_method(shared)
  assert described['stack'].startswith('Decision(num_experts=10, router=Soft')
  again = description.from_json(
    json.loads(json.dumps(description.to_json(shared)))
  )
  assert description.describe_method(again) == described
  assert 'decisions' not in description.to_json(config())
