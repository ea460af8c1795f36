"""The file `results.json`: its one reader and its one writer."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from etils import epath

from moe_lite.core import integrity, json_text
from moe_lite.core.errors import UserError
from moe_lite.data.catalog import Published, PublishedTable
from moe_lite.evaluation.results import (
  Averages,
  ColumnSummary,
  DatasetSummary,
  Evaluation,
  Settings,
  TaskResult,
)
from moe_lite.inference.facts import Facts

# Left out of the file where they are None. All other fields are always there.
_OPTIONAL = {
  *('rows', 'none_correct', 'several_correct', 'trimmed_targets'),
  *('ties', 'equal_choices', 'shared_accuracy', 'trimmed_inputs', 'stages'),
  *(x.name for x in dataclasses.fields(Settings) if x.default is None),
}


def read(path: epath.Path) -> Evaluation:
  """Reads a `results.json`.

  Raises:
    UserError: if the file holds something else, or was changed.
  """
  try:
    content = json.loads(path.read_text())
    return from_json(integrity.unseal(dict(content), str(path)))
  except UserError:
    raise
  except OSError as error:
    raise UserError(f'{path} cannot be read: {error}.') from error
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise UserError(f'{path} is not the result of an evaluation.') from error


def from_json(content: Mapping[str, Any]) -> Evaluation:
  """Reads what `to_json` gave, in this version or in an earlier one."""
  average = content['average']
  fields = {field.name for field in dataclasses.fields(Evaluation)}
  return Evaluation(
    complete=content['complete'],
    checkpoint=Facts.from_json(content['checkpoint']),
    settings=_build(Settings, content['settings']),
    datasets=[_build(DatasetSummary, x) for x in content['datasets']],
    columns=[_build(ColumnSummary, x) for x in content['columns']],
    average=None if average is None else _build(Averages, average),
    # The first versions did not know of published averages.
    published=_published(content.get('published')),
    tasks=[_build(TaskResult, x) for x in content['tasks']],
    environment={k: x for k, x in content.items() if k not in fields},
  )


def to_json(evaluation: Evaluation) -> dict[str, Any]:
  """What `results.json` holds of an evaluation."""
  content = plain(evaluation)
  environment = content.pop('environment')
  return {**content, **environment}


def plain(values: Any) -> dict[str, Any]:
  """A dataclass of this module, or one that holds some, as a dictionary."""
  return dataclasses.asdict(
    values,
    dict_factory=lambda items: {
      name: value
      for name, value in items
      if value is not None or name not in _OPTIONAL
    },
  )


def text(content: Mapping[str, Any]) -> str:
  """What is written of a dictionary."""
  return json_text.dumps(content, indent=2) + '\n'


def _build(kind: Any, content: Mapping[str, Any]) -> Any:
  """A dataclass from its fields, without what other versions added to them."""
  names = {field.name for field in dataclasses.fields(kind)}
  return kind(**{name: x for name, x in content.items() if name in names})


def _published(content: Mapping[str, Any] | None) -> PublishedTable | None:
  if content is None:
    return None
  averages = tuple(
    # JSON has lists for tuples. The first versions had but three of the fields.
    _build(
      Published,
      {k: tuple(x) if isinstance(x, list) else x for k, x in one.items()},
    )
    for one in content['averages']
  )
  return PublishedTable(content['source'], averages, content['marks'])
