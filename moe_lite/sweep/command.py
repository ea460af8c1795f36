"""Runs an ablation: a grid of gin bindings and seeds, into one table.

  python -m moe_lite.sweep gin/ablations/experts.gin [more.gin ...]

  --to=DIR            the folder of the runs and the table; by default
                      runs/sweeps/NAME, where NAME is the name of the grid's
                      file, or the names of several, joined by _
  --jobs=N            the number of runs at a time on this machine; by default 1
  --print             print the commands of what is missing, to launch them
                      elsewhere, and make the table of what is there
  --gin.NAME=VALUE    a macro of the grid's files, such as --gin.SEEDS="[0]"
  --gin_search_paths, --seqio_additional_cache_dirs
                      the flags of moe_lite.train, which every run gets

What is complete is not run again: an interrupted or failed sweep goes on when
the same command runs again. Writes sweep.md, sweep.png, sweep.csv, sweep.json.
The exit code is 1 if a run failed, and 2 for a mistake that was found before
anything started.
"""

import pathlib
from collections.abc import Sequence

import jax
from absl import flags

from moe_lite.core.errors import UserError
from moe_lite.process import cli

# What gin files call the grid. The second is its name in files that were
# written before the package got its folders.
ENTRIES = ('sweep.Grid', 'sweeps.Grid')
# Flags that every run gets, too.
_SHARED = ('gin_search_paths', 'seqio_additional_cache_dirs')


def main(argv: Sequence[str]) -> int:
  """Runs the command, and returns its exit code."""
  # The runs need the devices. Progress reports ask JAX which process this is,
  # and JAX would then take the devices for this process.
  jax.config.update('jax_platforms', 'cpu')
  succeeded = True

  def command(argv: Sequence[str]) -> None:
    nonlocal succeeded
    succeeded = _sweep(argv)

  return cli.guard(command, argv, __doc__) or (0 if succeeded else 1)


def _sweep(argv: Sequence[str]) -> bool:
  """Sweeps, and returns whether no run failed; raises UserError if mistaken."""
  values, files, rest = _parse_flags(argv)
  if not files:
    raise UserError(
      'Give the gin file of a grid, such as gin/ablations/experts.gin. See '
      '--help.'
    )
  argv = [argv[0], *(f'--gin_file={file}' for file in files), *rest]
  configured = cli.configure(argv, ENTRIES, 'ablations/experts.gin')
  # Imported late: it imports TensorFlow, which `configure` keeps quiet.
  from moe_lite.sweep import sweeping

  name = '_'.join(pathlib.PurePath(file).stem for file in files)
  root = values.to or f'runs/sweeps/{name}'
  shared = [word for word in rest if word.lstrip('-').startswith(_SHARED)]
  return sweeping.sweep(configured(), root, shared, values.jobs, values.print)


def _parse_flags(
  argv: Sequence[str],
) -> tuple[flags.FlagValues, list[str], list[str]]:
  """The sweep's own flags, the grid's files, and the other flags."""
  values = flags.FlagValues()
  flags.DEFINE_string('to', None, 'A folder.', values)
  flags.DEFINE_integer('jobs', 1, 'At a time.', flag_values=values)
  flags.DEFINE_bool('print', False, 'Print commands.', values)
  own, files, rest = [argv[0]], [], []
  for argument in argv[1:]:
    name = argument.lstrip('-').partition('=')[0]
    if not argument.startswith('-'):
      files.append(argument)
    elif name in values or name.removeprefix('no') in values:
      own.append(argument)
    else:
      rest.append(argument)
  try:
    values(own)
  except flags.Error as error:
    raise UserError(f'{error} See --help.') from error
  return values, files, rest
