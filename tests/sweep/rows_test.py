"""The keys of sweep.json, and rows in groups."""

from moe_lite.sweep.intervals import estimate
from moe_lite.sweep.rows import (
  EvaluatedRun,
  Row,
  Training,
  Tried,
  columns_of,
  equal_parameters,
  to_json,
)
from tests.sweep.swept import row, swept

FIRST = [
  *('variant', 'is_trained', 'trainable_parameters', 'base_parameters'),
  *('share', 'wanted', 'seeds', 'choice', 'at_edge', 'average', 'columns'),
]
MEASURED = [
  *('chance', 'training_seconds', 'seconds_per_step', 'evaluation_seconds'),
  'step_bytes',
]


def run(**changes):
  return EvaluatedRun(
    **{
      'run': 'a, seed 0',
      'variant': 'a',
      'choice': {},
      'seed': 0,
      'folder': 'x/a/seed_0',
      'average': 50.0,
      'columns': {'who': 50.0},
      'chance': 50.0,
      'trainable_fingerprint': 'abc',
      'training': None,
      'evaluation_seconds': 2.0,
      'device_kind': 'cpu',
      **changes,
    }
  )


def test_the_file_has_these_keys_in_this_order():
  begun, waiting = row('a', 10, [50.0]), Row('b', True, 10, 1000, 1.0, 3, [])
  content = to_json(swept([begun, waiting], runs=[run()]))
  assert list(content) == [
    *('complete', 'confidence', 'settings', 'rows', 'search', 'failed', 'runs'),
  ]
  assert list(content['rows'][0]) == [*FIRST, *MEASURED]
  assert list(content['rows'][0]['average']) == ['values', 'mean', 'half']
  # Of a variant that has no evaluated run, less is known.
  assert list(content['rows'][1]) == FIRST
  assert content['rows'][1]['choice'] is None
  first = [
    *('run', 'variant', 'choice', 'seed', 'folder', 'average', 'columns'),
    *('chance', 'trainable_fingerprint'),
  ]
  last = ['evaluation_seconds', 'device_kind']
  for training, names in (
    (None, []),
    (Training(), ['step_bytes']),
    (
      Training(2.0, 0.5, 7),
      ['training_seconds', 'seconds_per_step', 'step_bytes'],
    ),
  ):
    content = to_json(swept([], runs=[run(training=training)]))
    assert list(content['runs'][0]) == [*first, *names, *last]


def test_a_choice_is_chosen_or_not_once_all_are_known():
  open_, done = (
    Tried('a', 'RATE=1', {'RATE': 1}, average, chosen)
    for average, chosen in ((None, None), (50.0, False))
  )
  content = to_json(swept([], search=[open_, done]))['search']
  keys = ['variant', 'choice', 'values', 'average']
  assert [list(one) for one in content] == [keys, [*keys, 'chosen']]


def test_rows_are_grouped_by_what_they_train():
  rows = [
    row('frozen base', 0, [40.0]),
    row('LoRA', 100, [50.0, 52.0]),
    row('MoV', 114, [60.0, 61.0]),
    row('MoLoRA', 116, [55.0, 56.0]),
    row('full', 1000, [70.0, 71.0]),
  ]
  groups = equal_parameters(rows)
  assert [[r.variant for r in group] for group in groups] == [['MoV', 'LoRA']]


def test_columns_are_those_of_all_rows():
  one = estimate([1.0])
  rows = [row('a', 1, [1.0], columns={}), row('b', 1, [1.0])]
  rows.append(row('c', 1, [1.0], columns={'nli': one, 'who': one}))
  assert columns_of(rows) == ['who', 'nli']
