"""What others reported, as a section of a page of results.

Averages move by points with the way in which prompts are summarised and with
the data sets that are counted. So an average is shown only beside results over
the same columns, and next to ours by the same convention.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from moe_lite.core.tables import table
from moe_lite.data.catalog import Convention, Published, PublishedTable

_NOT_TOLD = 'not told'


def section(
  known: PublishedTable | None,
  columns: Sequence[str],
  own: Mapping[Convention, Sequence[float] | None],
) -> list[str]:
  """The lines of the section.

  Args:
    known: what others reported.
    columns: the columns of our average.
    own: maps each convention of our averages to our scores in these columns;
      None if the page has them elsewhere.

  Returns:
    no lines if nothing is known.
  """
  if known is None:
    return []
  shown = [
    one
    for one in known.averages
    if one.convention in own and set(one.columns) == set(columns)
  ]
  lines = _averages(known, shown, columns, own) if shown else []
  for convention, scores in own.items():
    lines += _scores(shown, columns, convention, scores)
  if others := len(known.averages) - len(shown):
    lines += [
      '',
      f'Not shown are {others} published averages that are over other columns, '
      'by another convention, or do not tell.',
    ]
  return lines


def _averages(
  known: PublishedTable,
  shown: Sequence[Published],
  columns: Sequence[str],
  own: Mapping[Convention, Sequence[float] | None],
) -> list[str]:
  ours: dict[Convention | None, str] = {
    convention: f'{np.mean(scores):.2f}'
    for convention, scores in own.items()
    if scores is not None
  }
  rows = [
    (
      one.name,
      f'{one.average:.2f}',
      str(one.convention),
      *([ours.get(one.convention, '–')] if ours else ()),
      _training(one),
      ', '.join(one.dropped) or 'none',
      one.source or known.source,
      one.mark,
    )
    for one in shown
  ]
  header = ('published', 'average', 'over prompts', *(['here'] if ours else ()))
  used = {one.mark for one in shown}
  marks = '; '.join(f'{k}: {x}' for k, x in known.marks.items() if k in used)
  beside = 'Ours by the same convention is beside them. ' if ours else ''
  return [
    '',
    f'Published averages over the same columns ({", ".join(columns)}). '
    f'{beside}Marks: {marks}.',
    '',
    table((*header, 'steps × batch', 'left out', 'source', 'mark'), rows),
  ]


def _training(one: Published) -> str:
  if one.steps is None or one.batch is None:
    return _NOT_TOLD
  return f'{one.steps:,} × {one.batch:,}'


def _scores(
  shown: Sequence[Published],
  columns: Sequence[str],
  convention: Convention,
  own: Sequence[float] | None,
) -> list[str]:
  """The scores of the columns, where they were reported as well."""
  rows = [
    (one.name, [one.scores[one.columns.index(column)] for column in columns])
    for one in shown
    if one.convention == convention and one.scores
  ]
  if not rows:
    return []
  if own is not None:
    rows.insert(0, ('here', list(own)))
  return [
    '',
    table(
      (f'{convention} over prompts', *columns),
      [(name, *(f'{x:.2f}' for x in scores)) for name, scores in rows],
    ),
  ]
