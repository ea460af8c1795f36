"""The page by itself: no text is markup, colours say who is likely."""

import re

import numpy as np

from moe_lite.inference.token_routing import RoutedTokens, TokenRouting
from moe_lite.routing_report import page
from moe_lite.routing_report.sentences import Sentence

ROUTER = 'encoder/layers_0/attention/key'


def render(tokens, p):
  routed = RoutedTokens(tokens, np.array(p), np.array(p), None)
  sentence = Sentence('set', 'task', TokenRouting(tokens, [], {ROUTER: routed}))
  return page.render(
    'Routing', [('step', '3')], [], ['a note'], [sentence], [ROUTER], 's.csv'
  )


def test_text_is_text():
  html = render(['<b>', '\u2581&amp', '"'], [[0.5, 0.5]] * 3)
  assert '<b>' not in html and '&lt;b&gt;' in html
  assert '> &amp;amp<' in html


def test_the_likeliest_expert_colours_the_stronger_the_likelier():
  html = render(['a', 'b', 'c'], [[1, 0], [0.25, 0.75], [0.5, 0.5]])
  spans = re.findall(r'hsl\((\d+) [^/]*/ ([\d.]+)\)" title="(\w)', html)
  assert spans == [('0', '1.00', 'a'), ('180', '0.50', 'b'), ('0', '0.00', 'c')]
  assert 'a: 0: 1.00, 1: 0.00' in html


def test_no_two_experts_look_alike():
  assert len({page.colour_of(e, 60) for e in range(60)}) == 60
