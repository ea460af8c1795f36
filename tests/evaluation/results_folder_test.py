"""Finished tasks on disk: what is gone on with, and what is replaced."""

import dataclasses
import json
import time

import pytest

from moe_lite.core import json_lines
from moe_lite.core.errors import UserError
from moe_lite.evaluation import results, results_file
from moe_lite.evaluation.results_folder import ResultsFolder
from tests.evaluation import outcomes
from tests.evaluation.outcomes import facts, task

NAMES = ['a_1.0', 'a_2.0', 'b_3.0']
TASKS = [task('a', 1.0), task('a', 2.0), task('b', 3.0)]


def open_folder(path, **changes):
  settings = outcomes.settings(**changes)
  return ResultsFolder(str(path), facts(trained=7), settings)


def test_every_task_is_on_disk_once_it_is_finished(tmp_path):
  folder = open_folder(tmp_path / 'x')
  assert folder.finished(NAMES) == set()
  for i, one in enumerate(TASKS):
    folder.add(one)
    folder.flush()
    written = results_file.read(tmp_path / 'x' / results.JSON)
    assert not written.complete and written.tasks == TASKS[: i + 1]
    assert 'Not complete' in (tmp_path / 'x' / results.MARKDOWN).read_text()
  assert not (tmp_path / 'x' / results.PLOT).exists()
  whole = folder.write(NAMES, complete=True)
  assert results_file.read(tmp_path / 'x' / results.JSON) == whole
  assert whole.complete and whole.average.median == (1.5 + 3) / 2
  assert (tmp_path / 'x' / results.PLOT).exists()


def test_quick_tasks_are_written_together(tmp_path, monkeypatch):
  now = iter([5, 6, 10, 17])  # The first takes a second, so the next waits ten.
  monkeypatch.setattr(time, 'monotonic', lambda: next(now))
  folder = open_folder(tmp_path)
  saved = lambda: results_file.read(tmp_path / results.JSON).tasks
  folder.add(TASKS[0])
  folder.add(TASKS[1])
  assert saved() == TASKS[:1]
  folder.flush()
  assert saved() == TASKS[:2]
  stamp = (tmp_path / results.JSON).stat().st_mtime_ns
  folder.flush()  # There is nothing new.
  assert (tmp_path / results.JSON).stat().st_mtime_ns == stamp


def test_a_later_call_goes_on(tmp_path):
  open_folder(tmp_path).add(TASKS[0])
  again = open_folder(tmp_path)
  assert again.finished(NAMES) == {NAMES[0]}
  # Only what is asked for is written.
  again.add(TASKS[2])
  assert again.write(NAMES[1:], complete=True).tasks == [TASKS[2]]


@pytest.mark.parametrize(
  'changes',
  [
    {'length_normalized': True},
    {'decoder': {'name': 'sampling', 'temperature': 0.5}},
    {'vocabulary': None},
  ],
)
def test_other_settings_begin_anew(tmp_path, capsys, changes):
  open_folder(tmp_path, **changes).add(TASKS[0])
  assert open_folder(tmp_path).finished(NAMES) == set()
  assert 'of another checkpoint or other settings' in capsys.readouterr().err


def test_another_checkpoint_begins_anew(tmp_path):
  open_folder(tmp_path).add(TASKS[0])
  other = ResultsFolder(str(tmp_path), facts(trained=8), outcomes.settings())
  assert other.finished(NAMES) == set()


@pytest.mark.parametrize('text', ['{"runs": []}', 'half of a fi'])
def test_what_is_not_an_evaluation_is_replaced(tmp_path, capsys, text):
  (tmp_path / results.JSON).write_text(text)
  folder = open_folder(tmp_path)
  assert folder.finished(NAMES) == set()
  assert 'replacing it' in capsys.readouterr().err
  folder.add(TASKS[0])
  assert results_file.read(tmp_path / results.JSON).tasks == TASKS[:1]


def test_numbers_keep_the_environment_that_measured_them(tmp_path):
  whole = open_folder(tmp_path)
  whole.add(TASKS[0])
  found = whole.write(NAMES[:1], complete=True)
  assert {'command', 'packages', 'device_kind'} <= found.environment.keys()
  elsewhere = {**found.environment, 'command': 'elsewhere'}
  found = dataclasses.replace(found, environment=elsewhere)
  for complete, command in ((True, 'elsewhere'), (False, None)):
    content = dataclasses.replace(found, complete=complete)
    outcomes.write(tmp_path, content)
    again = open_folder(tmp_path).write(NAMES[:1], complete=True)
    is_kept = again.environment['command'] == 'elsewhere'
    assert is_kept == (command is not None)


def test_options_are_compared_as_json_gives_them_back(tmp_path):
  decoder = {'name': 'sampling', 'stops': (1, 2)}
  open_folder(tmp_path, decoder=decoder).add(TASKS[0])
  assert open_folder(tmp_path, decoder=decoder).finished(NAMES) == {NAMES[0]}


def test_a_file_is_not_a_folder(tmp_path):
  (tmp_path / 'x').touch()
  with pytest.raises(UserError, match='is a file; name a folder'):
    open_folder(tmp_path / 'x')


def test_lines_of_examples_are_those_of_finished_tasks(tmp_path):
  line = lambda task, idx: {'task': task.task, 'idx': idx}
  folder = open_folder(tmp_path)
  folder.add(TASKS[0], [line(TASKS[0], 0), line(TASKS[0], 1)])
  path = tmp_path / results.PREDICTIONS
  whole = path.read_text()
  # As if it had been killed before it wrote down that the task is finished.
  json_lines.Lines(path, 2).append([json.dumps(line(TASKS[1], 0))])
  again = open_folder(tmp_path)
  again.add(TASKS[1], [line(TASKS[1], 5)])
  assert path.read_text().startswith(whole)
  assert json_lines.read(path)[2:] == [line(TASKS[1], 5)]
  # What was damaged is kept, and what follows is written nevertheless.
  path.write_text(whole.replace('1', '2', 1))
  open_folder(tmp_path).add(TASKS[1], [line(TASKS[1], 6)])
  assert json_lines.read(path) == [line(TASKS[1], 6)]
  assert (tmp_path / f'{results.PREDICTIONS}.damaged').exists()
