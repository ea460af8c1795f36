"""Networks in JSON, and what a file of somebody's may ask for."""

import dataclasses
import functools
import json
import sys

import pytest

from moe_lite import adapters, networks, routing
from moe_lite.errors import UserError
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
  described = json.loads(json.dumps(networks.to_json(config)))
  built = networks.from_json(described)
  assert networks.to_json(built) == networks.to_json(config)
  assert networks.describe_method(built) == networks.describe_method(config)
  assert described['adapters']['out']['type'] == f'{__name__}.Doubled'


@pytest.mark.parametrize(
  'name', ['this.s', 'subprocess.Popen', 'SITES', 'joined', 'nowhere.MoV']
)
def test_a_file_imports_and_calls_nothing(name, capsys):
  sys.modules.pop('this', None)
  config = networks.to_json(tiny.model().module.config)
  described = {**config, 'adapters': {'key': {'type': name, 'args': 'ls'}}}
  with pytest.raises(UserError, match=f'{name} is no adapter or router'):
    networks.from_json(described)
  assert 'this' not in sys.modules and not capsys.readouterr().out
