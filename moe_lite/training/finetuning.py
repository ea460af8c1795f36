"""Trains from Python what `python -m moe_lite.train` trains.

>>> run = moe_lite.finetune(
...   ['models/t5_1_1_mini.gin', 'methods/mov.gin', 'data/mini.gin',
...    'runs/finetune.gin'],
...   MODEL_DIR='runs/mov', TRAIN_STEPS=200, LEARNING_RATE=0.03, NUM_EXPERTS=10,
... )  # doctest: +SKIP
>>> model = moe_lite.load('mini', adapters=run.folder)  # doctest: +SKIP
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from moe_lite.core import json_lines
from moe_lite.process import calling, gin_macros
from moe_lite.training.run_folder import METRICS, VALIDATION


@dataclasses.dataclass(frozen=True)
class Run:
  """A run that was trained.

  Attributes:
    folder: its MODEL_DIR, which `moe_lite.load` takes as `adapters`.
    metrics: a row for each line of `metrics.jsonl`: `step`, `loss` in nats a
      target token, and others; empty where a run only begins.
    validation: a row for each line of `validation.jsonl`; empty where nothing
      was validated.
  """

  folder: str
  metrics: Sequence[Mapping[str, Any]]
  validation: Sequence[Mapping[str, Any]]

  def __repr__(self) -> str:
    """The folder, and the last row of each kind."""
    lines = [f'Run({self.folder!r})']
    for what, rows in (
      ('metrics', self.metrics),
      ('validation', self.validation),
    ):
      if rows:
        said = ', '.join(
          f'{name} {value:.4g}'
          if isinstance(value, float)
          else f'{name} {value}'
          for name, value in rows[-1].items()
          if isinstance(value, int | float)
        )
        lines.append(f'  last {what}: {said}')
    return '\n'.join(lines)


def finetune(
  gin_files: Sequence[str],
  *,
  gin_search_paths: Sequence[str] = (),
  seqio_additional_cache_dirs: Sequence[str] = (),
  **macros: Any,
) -> Run:
  """Trains, or goes on with, the run of a folder, in this process.

  This is what `python -m moe_lite.train` does with the same files and macros.
  Called again with the same MODEL_DIR, it resumes the run; if all steps are
  done, it trains nothing. What gin was told before is cleared. Ctrl-C, or the
  stop button of a notebook, saves the run and raises KeyboardInterrupt.

  Args:
    gin_files: the gin files of a run: models/, methods/, data/ and runs/.
    gin_search_paths: folders to look for gin files in first.
    seqio_additional_cache_dirs: folders to look for cached tasks in.
    **macros: the values of macros, such as MODEL_DIR and TRAIN_STEPS. A text
      that begins with @ or % names a function or a macro, as in a gin file;
      OPTIMIZER='@optimizers.adamw' is an example.

  Raises:
    UserError: for a mistake in the files or the macros, if the folder is that
      of something else, and where a command would end with a message. Diverged
      is such an error.
  """
  calling.call(
    'training.train',
    'runs/finetune.gin',
    gin_files,
    macros,
    gin_search_paths,
    seqio_additional_cache_dirs,
  )
  folder = epath.Path(gin_macros.value('MODEL_DIR'))
  metrics, validation = (
    json_lines.read(path) if (path := folder / name).exists() else []
    for name in (METRICS, VALIDATION)
  )
  return Run(os.fspath(folder), metrics, validation)
