"""Which experts of a run serve which tasks.

  python -m moe_lite.routing_report RUN [--mixture=NAME,NAME] [--split=SPLIT]
      [--examples=N] [--to=DIR] [--seqio_additional_cache_dirs=DIR,DIR]

reads a finished run and N examples of every task of the mixtures (that of its
training by default), and writes to DIR (RUN by default)

  routing.csv   for each data set, router and expert: mean probability, share
                of tokens that use the expert, and how many tokens there were
  routing.png   probabilities by data set and expert, in the last layer of each
                stack, relative to routing that makes no difference

Means are over tokens, padding left out, and over heads where heads route apart.
"""

import sys
from collections.abc import Sequence

from absl import flags

from moe_lite import cli
from moe_lite.errors import UserError


def report(argv: Sequence[str]) -> None:
  """See the module's docstring; raises UserError for a mistake."""
  values = flags.FlagValues()
  flags.DEFINE_list('mixture', None, 'Mixtures or tasks.', values)
  flags.DEFINE_string('split', 'validation', 'Of every task.', values)
  flags.DEFINE_integer('examples', 64, 'Of every task.', 1, flag_values=values)
  flags.DEFINE_string('to', None, 'Folder to write to.', values)
  flags.DEFINE_list('seqio_additional_cache_dirs', [], 'Folders.', values)
  try:
    _, *runs = values(argv)
  except flags.Error as error:
    raise UserError(f'{error} See --help.') from error
  if len(runs) != 1:
    raise UserError('Give one run folder. See --help.')
  cli.import_tensorflow()
  cli.add_cache_dirs(values.seqio_additional_cache_dirs)
  from moe_lite import routing_usage

  routing_usage.report(
    runs[0], values.mixture, values.split, values.examples, values.to
  )


if __name__ == '__main__':
  sys.exit(cli.guard(report, sys.argv, __doc__))
