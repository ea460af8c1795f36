"""Where routers stand, and which are looked at closely."""

import pytest

from moe_lite.core.errors import UserError
from moe_lite.routing_report import places

KEY = 'encoder/layers_{}/attention/key'


def test_places_go_from_the_encoder_on_and_layers_by_number():
  names = [
    'decoder/layers_0/self_attention/key',
    *(KEY.format(i) for i in (10, 2, 9)),
  ]
  found = places.by_place(names)
  assert list(found.values()) == [
    [KEY.format(i) for i in (2, 9, 10)],
    names[:1],
  ]


def test_the_last_layer_is_looked_at_unless_others_are_asked_for():
  names = [KEY.format(i) for i in (2, 10)] + ['decoder/layers_1/mlp/wo']
  assert places.choose(names, None) == names[1:]
  assert places.choose(names, 'layers_2|wo') == [names[0], names[2]]
  assert places.choose(names, 'query') == []
  with pytest.raises(UserError, match='is not a regular expression'):
    places.choose(names, '(')
