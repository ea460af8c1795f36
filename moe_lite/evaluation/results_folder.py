"""The results of finished tasks on disk, so that an evaluation can go on."""

import contextlib
import dataclasses
import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from moe_lite.core import integrity, json_lines, json_text
from moe_lite.core.errors import UserError
from moe_lite.core.files import replace_text, set_aside
from moe_lite.core.progress import say
from moe_lite.data.catalog import PublishedTable
from moe_lite.evaluation import comparison, plots, results_file, results_page
from moe_lite.evaluation.results import (
  JSON,
  MARKDOWN,
  PLOT,
  PREDICTIONS,
  Evaluation,
  Settings,
  TaskResult,
)
from moe_lite.evaluation.summaries import summarize
from moe_lite.inference.facts import Facts
from moe_lite.process.environment import environment

# A process that is killed has to repeat the tasks of so many seconds at most.
_SECONDS_TO_LOSE = 10.0


class ResultsFolder:
  """The tasks that are finished so far, in memory and on disk.

  Process 0 alone reads and writes the folder.
  """

  def __init__(
    self,
    folder: str,
    checkpoint: Facts,
    settings: Settings,
    published: PublishedTable | None = None,
  ):
    """Opens a folder, and goes on with what it holds of the same evaluation.

    Args:
      folder: the folder; it need not exist.
      checkpoint: what is evaluated.
      settings: how it is evaluated.
      published: what others reported for the mixture.

    Raises:
      UserError: if the folder is a file.
    """
    self._folder = epath.Path(folder)
    if self._folder.is_file():
      raise UserError(f'EVAL_OUTPUT_DIR = {folder!r} is a file; name a folder.')
    self._tasks: dict[str, TaskResult] = {}
    self._lines: json_lines.Lines | None = None
    self._is_behind = False
    self._next_write = 0.0
    self._empty = _as_read(
      Evaluation(
        complete=False,
        checkpoint=checkpoint,
        settings=settings,
        datasets=[],
        columns=[],
        average=None,
        published=published,
        tasks=[],
        environment=environment(),
      )
    )
    if jax.process_index() == 0:
      self._go_on()

  def finished(self, names: Sequence[str]) -> set[str]:
    """The tasks that need no more work, on every process alike."""
    done = np.array([name in self._tasks for name in names])
    if jax.process_count() > 1:
      done = multihost_utils.broadcast_one_to_all(done)
    return {name for name, is_done in zip(names, done, strict=True) if is_done}

  def add(
    self, task: TaskResult, lines: Sequence[Mapping[str, Any]] = ()
  ) -> None:
    """Writes down a finished task, with a line for each of its examples."""
    if jax.process_index() == 0:
      if self._lines is None:
        self._lines = self._open_lines()
      self._lines.append([json_text.dumps(line) for line in lines])
    self._tasks[task.task] = task
    self._is_behind = True
    start = time.monotonic()
    if start < self._next_write:
      return
    self.flush()
    # The file grows with every task. Writing it takes a tenth of the time.
    end = time.monotonic()
    self._next_write = end + min(10 * (end - start), _SECONDS_TO_LOSE)

  def flush(self) -> None:
    """Writes the tasks that `add` was given, if it has not done so."""
    if self._is_behind:
      self.write(list(self._tasks), complete=False)

  def write(self, names: Sequence[str], complete: bool) -> Evaluation:
    """Writes the results of the tasks of these names, and returns them."""
    tasks = [self._tasks[name] for name in names if name in self._tasks]
    evaluation = dataclasses.replace(
      self._empty, complete=complete, tasks=tasks, **vars(summarize(tasks))
    )
    if jax.process_index() == 0:
      self._folder.mkdir(parents=True, exist_ok=True)
      content = results_file.to_json(evaluation)
      sealed = integrity.seal(content)
      replace_text(self._folder / JSON, results_file.text(sealed))
      replace_text(self._folder / MARKDOWN, results_page.markdown(evaluation))
      if complete:
        compared = comparison.compare([evaluation])
        plots.prompt_boxes(compared, self._folder / PLOT)
    self._is_behind = False
    return evaluation

  def _open_lines(self) -> json_lines.Lines:
    """Opens `predictions.jsonl`, and keeps the lines of finished tasks.

    A process that was killed may have written others.
    """
    self._folder.mkdir(parents=True, exist_ok=True)
    path = self._folder / PREDICTIONS
    try:
      before = json_lines.read(path) if path.exists() else []
    except UserError as error:
      say(f'{error} It is kept as {set_aside(path)}: replacing it.')
      before = []
    is_kept = (line.get('task') in self._tasks for line in before)
    kept = sum(1 for _ in itertools.takewhile(bool, is_kept))
    return json_lines.Lines(path, kept)

  def _go_on(self) -> None:
    """Takes over what an earlier call with the same settings finished."""
    path = self._folder / JSON
    if not path.exists():
      return
    try:
      before = results_file.read(path)
    except UserError as error:
      say(f'{error} It is kept as {set_aside(path)}: replacing it.')
      return
    now = self._empty
    if (before.checkpoint, before.settings) != (now.checkpoint, now.settings):
      say(f'{path} is of another checkpoint or other settings: replacing it.')
      return
    self._tasks = {task.task: task for task in before.tasks}
    # Numbers that are not measured again keep what they were measured with.
    if before.complete:
      self._empty = dataclasses.replace(now, environment=before.environment)


def find_complete(
  folder: str, settings: Settings, step: int, fingerprint: Callable[[], str]
) -> Evaluation | None:
  """Returns a complete evaluation in a folder; None if there is no such one.

  Every process must call this.

  Args:
    folder: the folder.
    settings: how it should have been made.
    step: the step of the checkpoint.
    fingerprint: returns the fingerprint of what was trained. It is called if
      everything else agrees.
  """
  path = epath.Path(folder) / JSON
  wanted = json.loads(json_text.dumps(results_file.plain(settings)))
  found = None
  with contextlib.suppress(UserError):  # `ResultsFolder` tells of it.
    found = results_file.read(path) if path.exists() else None
  if found is not None and not (
    found.complete
    and results_file.plain(found.settings) == wanted
    and found.checkpoint.step == step
    and found.checkpoint.trainable_fingerprint == fingerprint()
  ):
    found = None
  if jax.process_count() > 1:
    # All processes must go the same way, and all can read what is there.
    all_found = multihost_utils.process_allgather(np.array(found is not None))
    found = found if np.all(all_found) else None
  return found


def _as_read(evaluation: Evaluation) -> Evaluation:
  """The evaluation as its file gives it back, to compare it with another."""
  content = results_file.text(results_file.to_json(evaluation))
  return results_file.from_json(json.loads(content))
