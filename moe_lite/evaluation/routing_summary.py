"""What a report of routing found, in a line: for model cards."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from etils import epath

from moe_lite.core import json_files
from moe_lite.core.errors import UserError, some

# The folder of a run's report, and the file in it.
FOLDER, FILE = 'routing', 'routing.json'


@dataclasses.dataclass(frozen=True)
class RoutingSummary:
  """What the routers of adapters do.

  Attributes:
    of: the fingerprint of the adapters; see `parameters.fingerprint`.
    datasets: the data sets that were read.
    tasks: the number of their tasks.
    split: the split of every task.
    examples: how many examples of every task were read at most.
    headline: how many routers there are of each kind, in a sentence.
  """

  of: str | None
  datasets: Sequence[str]
  tasks: int
  split: str
  examples: int
  headline: str


def write(folder: epath.PathLike, summary: RoutingSummary) -> None:
  """Writes the summary beside the page of a report."""
  json_files.write(epath.Path(folder) / FILE, dataclasses.asdict(summary))


def read(run: epath.PathLike) -> dict[str, Any] | None:
  """Reads the summary of a run, as `write` wrote it.

  Args:
    run: the folder of the run.

  Returns:
    The fields of `RoutingSummary`; None if there is no report.

  Raises:
    UserError: if the file is damaged, or holds something else.
  """
  path = epath.Path(run) / FOLDER / FILE
  if not path.exists():
    return None
  content = json_files.read(path)
  names = [field.name for field in dataclasses.fields(RoutingSummary)]
  if missing := [name for name in names if name not in content]:
    raise UserError(
      f'{path} is not what `python -m moe_lite.routing_report` writes: it does '
      f'not say {some(missing)}. Run that again, or remove the file.'
    )
  return {name: content[name] for name in names}
