"""Results of finished tasks on disk, so that an evaluation can be resumed."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from moe_lite.core.errors import UserError
from moe_lite.core.files import replace_text
from moe_lite.core.progress import say
from moe_lite.evaluation import comparison, plots, results
from moe_lite.process.environment import environment


class PartialResults:
  """The tasks finished so far, in memory and on disk."""

  def __init__(
    self,
    folder: str,
    facts: Mapping[str, Any],
    settings: Mapping[str, Any],
    published: Mapping[str, Any] | None = None,
  ):
    """Args: `published`, what others reported, see `results.published`."""
    self._published = published
    self._folder = epath.Path(folder)
    # As JSON gives them back, to compare with those of an earlier call.
    self._identity = json.loads(
      json.dumps({'checkpoint': facts, 'settings': settings})
    )
    self._records: dict[str, Any] = {}
    self._environment = environment()
    if self._folder.is_file():
      raise UserError(f'EVAL_OUTPUT_DIR = {folder!r} is a file; name a folder.')
    path = self._folder / results.JSON
    if jax.process_index() == 0 and path.exists():
      before = json.loads(path.read_text())
      if all(before.get(key) == value for key, value in self._identity.items()):
        self._records = {record['task']: record for record in before['tasks']}
        # Numbers that are not measured again keep what they were measured with.
        if before['complete']:
          self._environment = {k: before[k] for k in self._environment}
      else:
        say(f'{path} is of another checkpoint or other settings: replacing it.')

  def finished(self, names: Sequence[str]) -> set[str]:
    """Which tasks need no work; on every process what the first one read."""
    done = np.array([name in self._records for name in names])
    if jax.process_count() > 1:
      done = multihost_utils.broadcast_one_to_all(done)
    return {name for name, is_done in zip(names, done, strict=True) if is_done}

  def add(self, record: Mapping[str, Any]) -> None:
    """Writes down a finished task."""
    self._records[record['task']] = dict(record)
    self.write(list(self._records), complete=False)

  def write(self, names: Sequence[str], complete: bool) -> dict[str, Any]:
    """Writes the results of `names`, and returns them."""
    records = [self._records[name] for name in names if name in self._records]
    outcome = {
      'complete': complete,
      **self._identity,
      **results.summarize(records),
      'published': self._published,
      'tasks': records,
      **self._environment,
    }
    if jax.process_index() == 0:
      self._folder.mkdir(parents=True, exist_ok=True)
      for name, text in (
        (results.JSON, json.dumps(outcome, indent=2) + '\n'),
        (results.MARKDOWN, results.markdown(outcome)),
      ):
        replace_text(self._folder / name, text)
      if complete:
        plots.prompt_boxes(
          comparison.compare([outcome]), self._folder / results.PLOT
        )
    return outcome
