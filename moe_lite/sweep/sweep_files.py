"""The files of a sweep: a page, a spreadsheet, a picture, and all as JSON."""

import csv
import io
from collections.abc import Sequence

from etils import epath

from moe_lite.core.files import replace_text
from moe_lite.evaluation import results_file
from moe_lite.sweep import rows, tables
from moe_lite.sweep.plots import intervals
from moe_lite.sweep.rows import Row, Swept

JSON = 'sweep.json'
MARKDOWN = 'sweep.md'
CSV = 'sweep.csv'
PLOT = 'sweep.png'


def write(name: str, swept: Swept, folder: str) -> str:
  """Writes all files, and says where they are.

  Args:
    name: the title of the page.
    swept: what is known of the sweep.
    folder: the folder of the files.
  """
  target = epath.Path(folder)
  target.mkdir(parents=True, exist_ok=True)
  for file, text in (
    (JSON, results_file.text(rows.to_json(swept))),
    (MARKDOWN, tables.markdown(name, swept)),
    (CSV, spreadsheet(swept.rows)),
  ):
    replace_text(target / file, text)
  intervals(swept.rows, target / PLOT, name)
  return f'Results are in {folder}: {MARKDOWN}, {PLOT}, {CSV}, {JSON}.'


def spreadsheet(variants: Sequence[Row]) -> str:
  """All numbers of the variants, a line for each."""
  columns = rows.columns_of(variants)
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  header = ['variant', 'choice', 'trainable_parameters', 'base_parameters']
  header += ['percent_of_base', 'seeds', 'average', 'half_interval']
  for column in columns:
    header += [column, f'{column}_half_interval']
  header += ['training_seconds', 'seconds_per_step', 'evaluation_seconds']
  writer.writerow([*header, 'step_bytes'])
  for row in variants:
    cells = [
      row.variant,
      ' '.join(f'{name}={value}' for name, value in (row.choice or {}).items()),
      row.trainable_parameters,
      row.base_parameters,
      row.share,
      len(row.seeds),
    ]
    for one in (row.average, *(row.columns.get(c) for c in columns)):
      cells += [one.mean, one.half] if one else [None, None]
    cells += [row.training_seconds, row.seconds_per_step]
    writer.writerow([*cells, row.evaluation_seconds, row.step_bytes])
  return text.getvalue()
