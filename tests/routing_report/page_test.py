"""The page by itself: what it says, links and folds, and that text is text."""

import re

import numpy as np
from matplotlib.figure import Figure

from moe_lite.inference.token_routing import RoutedTokens, TokenRouting
from moe_lite.routing_report import page, verdicts
from moe_lite.routing_report.sentences import Sentence

ROUTER = 'encoder/layers_0/attention/key'
JUDGED = {
  'router': ROUTER,
  'verdict': verdicts.UNIFORM,
  'of_tokens': 0.9876,
  'of_the_mean': 0.9999,
  'hardly_used': 0,
  'experts': 2,
}


def render(tokens, p, pictures=(), sentences=2):
  routed = RoutedTokens(tokens, np.array(p), np.array(p), None)
  sentence = Sentence('set', 'task', TokenRouting(tokens, [], {ROUTER: routed}))
  return page.render(
    'Routing',
    [('step', '3')],
    pictures,
    ['a note'],
    [JUDGED],
    'routers.csv',
    [sentence] * sentences,
    [ROUTER],
    'routers of the last layer of each place',
    's.csv',
  )


def test_text_is_text():
  html = render(['<b>', '\u2581&amp', '"'], [[0.5, 0.5]] * 3)
  assert '<b>' not in html and '&lt;b&gt;' in html
  assert '> &amp;amp<' in html


def test_the_likeliest_expert_colours_the_stronger_the_likelier():
  html = render(['a', 'b', 'c'], [[1, 0], [0.25, 0.75], [0.5, 0.5]])
  spans = re.findall(r'hsl\((\d+) [^/]*/ ([\d.]+)\)">(\w)<small', html)
  assert spans[:3] == [
    ('0', '1.00', 'a'),
    ('180', '0.50', 'b'),
    ('0', '0.00', 'c'),
  ]


def test_numbers_are_seen_without_pointing_at_anything():
  html = render(['a', 'b'], [[1, 0], [0.25, 0.75]])
  assert re.findall(r'(\w)<small>(.*?)</small>', html)[:2] == [
    ('a', '0·100'),
    ('b', '1·75'),
  ]
  assert ' title="' not in html
  assert '0.988' in html and '0 of 2' in html


def test_no_two_experts_look_alike():
  assert len({page.colour_of(e, 60) for e in range(60)}) == 60


def test_the_page_begins_with_how_many_routers_do_what():
  html = render(['a'], [[1, 0]])
  headline = verdicts.headline([JUDGED])
  assert html.index(headline) < html.index('<table')
  for word, meaning in verdicts.MEANINGS.items():
    assert f'<dt>{word}</dt><dd>{meaning}' in html


def test_sentences_are_folded_but_the_first():
  html = render(['a'], [[1, 0]], sentences=3)
  html = html[html.index('id="sentences"') :]
  assert html.count('<details>') == 2 and html.count('<details open>') == 1


def test_pictures_are_within_numbers_are_links_and_nothing_else_is(tmp_path):
  png = tmp_path / 'usage.png'
  Figure(figsize=(5, 2)).savefig(png, dpi=120)
  shown = page.Picture('usage', png, tmp_path / 'usage.csv', 'Shown: some.')
  html = render(['a'], [[1, 0]], [shown])
  links = set(re.findall('(?:src|href)="(?!data:|#)(.*?)"', html))
  assert links == {'usage.csv', 'routers.csv', 's.csv'}
  assert 'Shown: some.' in html
  # It shrinks to what can still be read, and is then moved sideways.
  assert 'width: 480px; min-width: 360px' in html
  assert '<script' not in html
