"""Lays evaluations side by side.

  python -m moe_lite.report EVAL_OUTPUT_DIR [EVAL_OUTPUT_DIR ...] [--to=DIR]

prints a table with a row for each data set and a column for each run, and how
many parameters each run trained. With --to it also writes DIR/results.md,
DIR/results.json and DIR/prompts.png. The picture shows, for each data set and
each run, a box over the prompts.
"""

from collections.abc import Sequence

from absl import flags
from etils import epath

from moe_lite.core.errors import UserError
from moe_lite.core.files import replace_text
from moe_lite.core.progress import say
from moe_lite.evaluation import (
  comparison,
  comparison_page,
  plots,
  results,
  results_file,
)
from moe_lite.process import cli


def report(argv: Sequence[str]) -> None:
  """See the module's docstring; raises UserError for a mistake."""
  values = flags.FlagValues()
  flags.DEFINE_string('to', None, 'Folder to write to.', flag_values=values)
  try:
    _, *folders = values(argv)
  except flags.Error as error:
    raise UserError(f'{error} See --help.') from error
  if not folders:
    raise UserError('Give one or more EVAL_OUTPUT_DIRs. See --help.')
  compared = comparison.compare(comparison.read(folders))
  print(comparison_page.table(compared))
  if values.to is None:
    return
  target = epath.Path(values.to)
  if target.resolve() in {epath.Path(f).resolve() for f in folders}:
    raise UserError(
      f'--to={values.to} would overwrite the results that are compared: name '
      'another folder.'
    )
  target.mkdir(parents=True, exist_ok=True)
  for name, text in (
    (results.JSON, results_file.text(comparison.to_json(compared))),
    (results.MARKDOWN, comparison_page.markdown(compared)),
  ):
    replace_text(target / name, text)
  plots.prompt_boxes(compared, target / results.PLOT)
  say(
    f'Written to {target}: {results.JSON}, {results.MARKDOWN}, {results.PLOT}.'
  )


def main(argv: Sequence[str]) -> int:
  """Runs the command, and returns its exit code."""
  return cli.guard(report, argv, __doc__)
