"""What forms of bases share: what is compared, shown and noted."""

import dataclasses
import json

import numpy as np
import pytest

from moe_lite.checkpoints.format import BaseFormat
from moe_lite.checkpoints.lazy_arrays import held
from moe_lite.checkpoints.metadata import METADATA
from moe_lite.core.errors import UserError
from moe_lite.t5.description import to_json
from tests import tiny


class Numbers(BaseFormat):
  """A form that needs the least: where it is, and arrays."""

  name = 'numbers'

  def is_at(self, path):
    return True

  def open(self, path, step=None):
    adapter = 'encoder/layers/attention/key_adapter/scale'
    return {'a': held(np.ones(3, 'f4')), adapter: held(np.ones((2, 4), 'f4'))}


FORM = Numbers()
NETWORK = tiny.model({}).module.config


@pytest.fixture
def path(tmp_path):
  """A folder whose metadata name a network, and how texts become ids."""
  said = {
    'network': to_json(NETWORK),
    'text': {'inputs_eos': True},
    'made': 'by hand',
  }
  (tmp_path / METADATA).write_text(json.dumps(said))
  return str(tmp_path)


def test_it_says_what_its_metadata_say(path, tmp_path):
  assert FORM.network(path) == json.loads(json.dumps(to_json(NETWORK)))
  assert FORM.text(path) == {'inputs_eos': True}
  assert FORM.origin(path) == {**FORM.facts(path), 'source': path}
  nothing = str(tmp_path / 'nothing')
  assert FORM.network(nothing) is None and FORM.text(nothing) == {}
  assert FORM.origin(nothing) == {'source': nothing}


def test_another_network_is_refused(path):
  FORM.check(path, NETWORK, 'given')
  adapted = tiny.model().module.config
  FORM.check(path, dataclasses.replace(adapted, dtype='bfloat16'), 'given')
  other = dataclasses.replace(NETWORK, num_heads=4, mlp_activations=('relu',))
  message = (
    r"base given does not fit .* num_heads 2 in the base, 4 in .*\['relu'\] in"
  )
  with pytest.raises(UserError, match=message):
    FORM.check(path, other, 'given')


def test_it_shows_leaves_of_layers_and_of_adapters(path):
  found = FORM.inspect(path)
  assert found.kind == 'numbers with 4 leaves of adapters'
  assert found.leaves['a'] == ((3,), 'float32')
  layer = 'encoder/layers_1/attention/key_adapter/scale'
  assert found.leaves[layer] == ((2,), 'float32')
  assert found.facts['made'] == 'by hand'
  assert len(found.facts['fingerprint']) == 16


def test_it_holds_nothing_that_was_trained(path):
  assert FORM.describe(path) is None and FORM.trained(path) is None
  assert not FORM.has_steps
