"""What the routers of a run do, on a page.

  python -m moe_lite.routing_report RUN [--mixture=NAME,NAME] [--split=SPLIT]
      [--examples=N] [--routers=REGEX] [--sentences=N] [--to=DIR]
      [--seqio_additional_cache_dirs=DIR,DIR] [--gin_file=RUN/config.gin]

reads a finished run and N examples of every task of the mixtures (by default,
those that it was trained on), and writes to DIR (RUN/routing by default)

  index.html     all of the following, in one file that needs no other
  routers.csv    a word for each router, and what it follows from
  usage.*        the mean probability of each expert, by data set
  entropy.*      how sure routers are, by depth
  datasets.*     which data sets are routed alike, in clusters, beside noise
  shift.*        held-out against training data sets, where both are read
  experts.*      which experts do the same
  sentences.csv  what routers make of the tokens of a few examples

There is a picture (.png) and its numbers (.csv) of each. REGEX chooses the
routers to look at closely: it is looked for anywhere in their names. By default
these are the routers of the last layer, at each place in a layer. Means are
over tokens, without padding, and over heads where each head is routed by
itself.
"""

from collections.abc import Sequence

from absl import flags

from moe_lite.core.errors import UserError
from moe_lite.process import cli
from moe_lite.process.quiet_tensorflow import import_tensorflow


def report(argv: Sequence[str]) -> None:
  """See the module's docstring; raises UserError for a mistake."""
  values = flags.FlagValues()
  flags.DEFINE_list('mixture', None, 'Mixtures or tasks.', values)
  flags.DEFINE_string('split', 'validation', 'Of every task.', values)
  flags.DEFINE_integer('examples', 64, 'Of every task.', 1, flag_values=values)
  flags.DEFINE_string('routers', None, 'To look at closely.', values)
  flags.DEFINE_integer('sentences', 6, 'To colour.', 0, flag_values=values)
  flags.DEFINE_string('to', None, 'Folder to write to.', values)
  flags.DEFINE_multi_string('gin_file', [], 'Gin files to trust.', values)
  flags.DEFINE_list('seqio_additional_cache_dirs', [], 'Folders.', values)
  try:
    _, *runs = values(argv)
  except flags.Error as error:
    raise UserError(f'{error} See --help.') from error
  if len(runs) != 1:
    raise UserError('Give one run folder. See --help.')
  import_tensorflow()
  cli.add_cache_dirs(values.seqio_additional_cache_dirs)
  from moe_lite.routing_report import writing

  writing.write(
    runs[0],
    values.mixture,
    values.split,
    values.examples,
    values.routers,
    values.sentences,
    values.to,
    values.gin_file,
  )


def main(argv: Sequence[str]) -> int:
  """Runs the command, and returns its exit code."""
  return cli.guard(report, argv, __doc__)
