"""Writes tables as text."""

from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  """Returns a Markdown table whose columns also line up as plain text.

  The first column is aligned to the left, the others to the right.

  Args:
    header: the name of each column.
    rows: the cells of each row, as many as the header has.
  """
  widths = [
    max(3, *(len(row[i]) for row in (header, *rows)))
    for i in range(len(header))
  ]

  def line(row: Sequence[str]) -> str:
    cells = [row[0].ljust(widths[0])]
    cells += [c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)]
    return '| ' + ' | '.join(cells) + ' |'

  rule = ['-' * widths[0], *('-' * (w - 1) + ':' for w in widths[1:])]
  return '\n'.join([line(header), line(rule), *map(line, rows)])
