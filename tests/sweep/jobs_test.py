"""What is missing of a run, by what its folder holds."""

import dataclasses

import pytest

from moe_lite.core.errors import UserError
from moe_lite.evaluation import results
from moe_lite.sweep.expansion import expand
from moe_lite.sweep.jobs import Job, finished_evaluation, log_file
from tests.evaluation import outcomes
from tests.sweep.grids import grid


@pytest.fixture
def job(tmp_path):
  plan = expand(grid(), str(tmp_path / 'x'))
  (run, _) = plan.settings['MoV'][0].runs
  return Job(run, (run.train, run.evaluation), train_steps=4)


def test_a_run_is_missing_until_its_last_command_is_done(job, tmp_path):
  run = job.run
  assert job.missing() == (run.train, run.evaluation)
  saved = tmp_path / 'x/MoV/LEARNING_RATE=0.1/seed_0/checkpoints'
  for step in (2, 4):
    assert run.train in job.missing()
    (saved / str(step)).mkdir(parents=True)
    (saved / str(step) / 'description').touch()
  assert job.missing() == (run.evaluation,)
  found = outcomes.evaluation([outcomes.task('a', 50.0)])
  output = saved.parent / 'eval'
  outcomes.write(output, dataclasses.replace(found, complete=False))
  assert finished_evaluation(run.evaluation) is None
  assert job.missing() == (run.evaluation,)
  outcomes.write(output, found)
  assert finished_evaluation(run.evaluation) == found
  assert job.missing() == ()
  # Results count, also if the checkpoints were removed to save room.
  (saved / '4' / 'description').unlink()
  assert job.missing() == ()


def test_foreign_results_are_refused(job, tmp_path):
  output = tmp_path / 'x/MoV/LEARNING_RATE=0.1/seed_0/eval'
  output.mkdir(parents=True)
  (output / results.JSON).write_text('{}')
  with pytest.raises(UserError, match='is not the result of an evaluation'):
    job.missing()


def test_logs_lie_beside_what_is_written(job, tmp_path):
  folder = tmp_path / 'x/MoV/LEARNING_RATE=0.1/seed_0'
  assert log_file(job.run.train) == folder / 'train.log'
  assert log_file(job.run.evaluation) == folder / 'eval.log'
