"""The command that a finished run suggests can be run."""

import pytest

import tasks.mini  # noqa: F401  registers the suite
from moe_lite.training import next_command


@pytest.mark.parametrize(
  'trained_on, name',
  [
    (None, None),
    ('mini_train', 'MIXTURE_OR_TASK_NAME="\'mini_train_score_eval\'"'),
    ('mini_one_of_mine', 'MIXTURE_OR_TASK_NAME="\'mini_one_of_mine\'"'),
  ],
)
def test_a_run_by_task_is_evaluated_on_its_own_data(
  monkeypatch, trained_on, name
):
  monkeypatch.setattr('sys.argv', ['train', '--gin_file=data/mini.gin'])
  _, command = next_command.lines('run', trained_on)
  assert ('MIXTURE_OR_TASK_NAME' in command) == (name is not None)
  assert name is None or name in command
