"""What routers make of tokens: which tokens are whose, and how it is shown."""

import base64
import io
import re

import numpy as np
import pytest

from moe_lite.core.errors import UserError
from moe_lite.inference import token_routing

SOURCE, TARGET = ['a', 'b', 'c'], ['d', '</s>']
ENCODER = 'encoder/layers_0/mlp/intermediate'
SELF = 'decoder/layers_0/self_attention/key'
CROSS = 'decoder/layers_0/encoder_decoder_attention/key'


def sown(*shape):
  """Statistics of a batch of two texts whose padding has other numbers."""
  rng = np.random.default_rng(0)
  p = rng.dirichlet(np.ones(shape[-1]), (2, 4, *shape[:-1]))
  return {'probability': p, 'weight': np.round(p)}


def statistics():
  found = {ENCODER: sown(2), SELF: sown(5, 2), CROSS: sown(2)}
  tree = {}
  for name, leaves in found.items():
    *above, site = name.split('/')
    here = tree
    for part in above:
      here = here.setdefault(part, {})
    here[f'{site}_adapter'] = {'router': leaves}
  return found, tree


def test_every_router_has_the_tokens_that_it_read():
  found, tree = statistics()
  routed = token_routing.of_text(tree, SOURCE, TARGET)
  tokens = {name: routed.routers[name].tokens for name in routed.routers}
  assert tokens == {ENCODER: SOURCE, SELF: TARGET, CROSS: SOURCE}
  one = routed.routers[ENCODER]
  np.testing.assert_array_equal(
    one.probabilities, found[ENCODER]['probability'][0, :3]
  )
  np.testing.assert_array_equal(one.weights, found[ENCODER]['weight'][0, :3])
  assert one.by_head is None


def test_heads_that_route_apart_are_averaged():
  found, tree = statistics()
  router = token_routing.of_text(tree, SOURCE, TARGET).routers[SELF]
  heads = found[SELF]['probability'][0, :2]
  assert router.by_head.shape == (2, 5, 2)
  np.testing.assert_array_equal(router.by_head, heads)
  np.testing.assert_allclose(router.probabilities, heads.mean(1))


def test_it_is_shown_as_tables_and_lists():
  _, tree = statistics()
  routed = token_routing.of_text(tree, SOURCE, TARGET)
  text = repr(routed)
  assert text.startswith('a b c -> d </s>\n')
  assert all(name in text for name in (ENCODER, SELF, CROSS))
  assert len(routed.table(SELF).split('\n')) == 2 + len(TARGET)
  with pytest.raises(UserError, match=f"Did you mean '{SELF}'"):
    routed.table(SELF + 's')
  lists = routed.to_dict()
  assert lists['tokens'] == SOURCE and lists['target_tokens'] == TARGET
  assert np.shape(lists['routers'][SELF]['probabilities']) == (2, 2)


def test_a_figure_has_a_panel_for_each_router():
  _, tree = statistics()
  # Matplotlib would read what stands between dollars as mathematics.
  source = ['a', 'costs$', '$\\frac{$']
  routed = token_routing.of_text(tree, source, TARGET)
  figure = routed.figure()
  axes, bar = figure.axes
  assert axes.get_title() == 'encoder\nlayers_0/mlp/intermediate'
  assert [x.get_text() for x in axes.get_yticklabels()] == source
  assert axes.get_xlabel() == 'expert'
  assert bar.get_ylabel() == 'probability of an expert × number of experts'
  # The scale ends at half of what no preference gives.
  relative = 2 * routed.routers[ENCODER].probabilities
  drawn = axes.images[0].get_array()
  np.testing.assert_allclose(drawn, np.maximum(relative, 0.5))
  figure.savefig(io.BytesIO())
  assert len(routed.figure('decoder', [SELF]).axes) == 2
  with pytest.raises(UserError, match=f"Did you mean '{SELF}'"):
    routed.figure('decoder', [SELF + 's'])


def test_a_notebook_shows_both_stacks():
  _, tree = statistics()
  both = token_routing.of_text(tree, SOURCE, TARGET)._repr_html_()
  assert both.count('<img') == 2 and 'Routers of the decoder: ' in both
  picture = re.search('base64,([^"]+)"', both)[1]
  assert base64.b64decode(picture).startswith(b'\x89PNG')
  alone = token_routing.of_text({'encoder': tree['encoder']}, SOURCE)
  assert alone._repr_html_().count('<img') == 1


def test_a_notebook_shows_the_last_of_many_routers():
  layers = {
    f'layers_{i}': {'mlp': {'wo_adapter': {'router': sown(2)}}}
    for i in range(14)
  }
  routed = token_routing.of_text({'encoder': layers}, SOURCE)
  assert 'the last 12 of 14 routers' in routed._repr_html_()


def test_the_routers_of_a_stack_are_drawn(tmp_path):
  _, tree = statistics()
  routed = token_routing.of_text(tree, SOURCE, TARGET)
  for stack in ('encoder', 'decoder'):
    png = tmp_path / f'{stack}.png'
    routed.plot(png, stack)
    assert png.read_bytes().startswith(b'\x89PNG')
  alone = token_routing.of_text({'encoder': tree['encoder']}, SOURCE)
  with pytest.raises(UserError, match=r'give routing\(\) a target'):
    alone.plot(tmp_path / 'none.png', 'decoder')
