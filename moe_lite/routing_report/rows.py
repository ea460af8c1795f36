"""Rows of numbers, as spreadsheets hold them."""

import csv
import io
from collections.abc import Mapping, Sequence

from etils import epath

from moe_lite.core.files import replace_text

# The name of a column to its value.
Row = Mapping[str, str | float]


def write_csv(path: epath.Path, rows: Sequence[Row]) -> None:
  """Writes rows that all have the same columns."""
  text = io.StringIO()
  writer = csv.DictWriter(text, list(rows[0]), lineterminator='\n')
  writer.writeheader()
  writer.writerows(rows)
  replace_text(path, text.getvalue())
