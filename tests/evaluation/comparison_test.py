"""Evaluations side by side: what is compared, and what is refused."""

import dataclasses

import pytest

from moe_lite.core.errors import UserError
from moe_lite.evaluation import comparison
from tests.evaluation.outcomes import (
  LORA,
  MOV,
  outcome,
  settings,
  write,
  write_two,
)


@pytest.fixture
def folders(tmp_path):
  """Evaluations of the frozen base and of MoV, on disk."""
  return write_two(tmp_path)


def test_what_runs_reached_is_in_their_order(folders):
  compared = comparison.compare(comparison.read(folders))
  base, mov = compared.runs
  assert (base.name, mov.name) == ('frozen base', 'MoV-10')
  assert mov.checkpoint.trainable_parameters == 20 and mov.seconds == 4
  _, who = compared.datasets
  assert who.dataset == 'who' and who.medians == [60, 81]
  assert who.quartiles[1] == (80, 82)
  assert [sorted(values) for values in who.values] == [[58, 62], [79, 83]]
  assert [column.medians for column in compared.columns] == [[50, 55], [60, 81]]


def test_the_file_has_these_keys_in_this_order(folders):
  content = comparison.to_json(comparison.compare(comparison.read(folders)))
  assert list(content) == [
    *('settings', 'runs', 'datasets', 'columns', 'published'),
  ]
  assert list(content['runs'][0]) == [
    *('name', 'checkpoint', 'step', 'base', 'method', 'trainable_parameters'),
    *('base_parameters', 'trainable_fingerprint', 'average', 'seconds'),
  ]
  assert list(content['datasets'][0]) == [
    *('dataset', 'metric', 'cluster', 'held_out', 'prompts', 'chance'),
    *('medians', 'quartiles', 'values'),
  ]
  assert list(content['columns'][0]) == [
    *('column', 'datasets', 'chance', 'medians'),
  ]


def test_equal_names_are_numbered():
  outcomes = [
    outcome(),
    outcome(LORA, 10),
    outcome(LORA, 10),
    outcome({}, 1000),
  ]
  names = [run.name for run in comparison.compare(outcomes).runs]
  assert names == [
    'frozen base',
    'LoRA rank 4',
    'LoRA rank 4 (2)',
    'full fine-tuning',
  ]


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'complete': False}, 'is not complete'),
    (
      {'settings': settings(split='test')},
      "split = 'test', but .* 'validation'",
    ),
    (
      {'settings': settings(num_examples=9)},
      'num_examples = 9, but .* None',
    ),
    ({'datasets': outcome().datasets[:1]}, 'lacks dataset who'),
    ({'tasks': outcome().tasks[:3]}, 'lacks task who_1'),
  ],
)
def test_what_cannot_be_compared_is_refused(
  folders, tmp_path, changes, message
):
  other = dataclasses.replace(outcome(MOV, 20), **changes)
  write(tmp_path / 'mov', other)
  with pytest.raises(UserError, match=message):
    comparison.read(folders)
