"""What is chosen, and what is gathered, by what runs left in their folders."""

import json

import pytest

from moe_lite.core.errors import UserError
from moe_lite.sweep.expansion import expand
from moe_lite.sweep.outcome import choose, collect
from moe_lite.training import run_folder
from tests.evaluation import outcomes
from tests.evaluation.outcomes import facts, task
from tests.sweep.grids import COUNTS, grid

RATES = (0.1, 0.3, 0.9)


@pytest.fixture
def plan(tmp_path):
  return expand(grid(search={'LEARNING_RATE': RATES}), str(tmp_path / 'x'))


@pytest.fixture
def write(tmp_path):
  """Writes an evaluation where a command would."""

  def write(command, value, **changes):
    tasks = [
      task('who', value, task='who_0'),
      task('nli', value / 2, task='nli_0'),
    ]
    found = outcomes.evaluation(tasks, facts({}, 10), **changes)
    outcomes.write(tmp_path / command.output, found)

  return write


def validate(plan, write, *values):
  settings = plan.settings['MoV']
  for setting, value in zip(settings, values, strict=True):
    if value is not None:
      write(setting.runs[0].validation, value)
  return settings


def test_the_best_average_is_chosen_and_the_first_of_equals(plan, write):
  settings = validate(plan, write, 40.0, 60.0, 60.0)
  chosen, tried = choose(settings)
  assert chosen is settings[1]
  assert [one.average for one in tried] == [30, 45, 45]
  assert [one.chosen for one in tried] == [False, True, False]
  assert tried[1].values == {'LEARNING_RATE': 0.3}


def test_nothing_is_chosen_while_a_choice_is_missing(plan, write):
  settings = validate(plan, write, 40.0, None, 60.0)
  chosen, tried = choose(settings)
  assert chosen is None
  assert [one.average for one in tried] == [30, None, 45]
  assert [one.chosen for one in tried] == [None] * 3


def test_a_single_choice_is_not_searched(plan):
  settings = plan.settings['frozen base']
  assert choose(settings) == (settings[0], [])


def test_without_ranked_tasks_there_is_nothing_to_compare(plan, write):
  settings = plan.settings['MoV']
  for setting in settings:
    write(setting.runs[0].validation, 1.0, average=None)
  with pytest.raises(UserError, match='no task that is ranked by accuracy'):
    choose(settings)


def test_rows_are_over_the_seeds_of_the_chosen_setting(plan, write, tmp_path):
  chosen = validate(plan, write, 40.0, 50.0, 60.0)[-1]
  first, second = chosen.runs
  write(first.evaluation, 40.0)
  write(second.evaluation, 50.0)
  folder = tmp_path / first.folder
  # The second line is of a run that went on after an interruption at step 2.
  lines = [
    {'step': 2, 'seconds_per_step': 3.0},
    {'step': 6, 'seconds_per_step': 1.0},
  ]
  (folder / run_folder.METRICS).write_text('\n'.join(map(json.dumps, lines)))
  (folder / run_folder.RUN).write_text('{"step_bytes": 7}')
  swept = collect(plan, COUNTS, {'a': 'b'})
  frozen, ia3, mov = swept.rows
  assert not swept.complete and swept.failed == {'a': 'b'}
  assert frozen.average is None and ia3.average is None and ia3.wanted == 2
  assert mov.seeds == [0, 1] and mov.choice == {'LEARNING_RATE': 0.9}
  assert mov.at_edge == ['LEARNING_RATE']
  assert mov.average.values == [30, 37.5] and mov.average.mean == 33.75
  assert mov.columns['who'].values == [40, 50] and mov.chance == 50
  assert mov.share == 10 and mov.evaluation_seconds == 2
  # Times are those of the runs that have some.
  assert mov.training_seconds == 10 and mov.step_bytes == 7
  assert mov.seconds_per_step == pytest.approx(10 / 6)
  assert [run.run for run in swept.runs] == [first.name, second.name]
  assert swept.settings == outcomes.settings()


def test_a_value_between_others_is_not_at_the_edge(plan, write):
  chosen = validate(plan, write, 40.0, 60.0, 50.0)[1]
  write(chosen.runs[0].evaluation, 40.0)
  assert collect(plan, COUNTS, {}).rows[-1].at_edge == []
