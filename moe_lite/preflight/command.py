"""python -m moe_lite.preflight --gin_file=... --topology=v5e:4x4

  --topology=KIND:SHAPE  the slice, such as v5e:1x1, v5e:4x4 or v4:2x2x4; may be
                         given several times
  --json                 print a JSON object for each program
  --sweep                print the cheapest of all meshes, microbatches and
                         remat policies that fits, for each topology
  --grid=MACRO=V,V,...   with --sweep, also try these values of a gin macro; for
                         example BATCH_SIZE=32,64 or BASE_DTYPE='float32','int8'

The gin files are those of the run; paths and the mixture may be left out. The
exit code is 3 if something does not fit, and 2 on a mistake.

libtpu (the extra `preflight`) compiles for the chips themselves. Without it the
step is compiled for as many devices of the CPU. The sizes of parameters, the
operations and the collectives are then known. The activations are not, nor what
the compiler for the chips would say.
"""

import os
import sys
from collections.abc import Sequence

import jax
from absl import flags

from moe_lite.core import json_text
from moe_lite.core.errors import UserError
from moe_lite.preflight import chips
from moe_lite.process import cli

DOES_NOT_FIT = 3


def main(argv: Sequence[str]) -> int:
  """Returns the exit code."""
  code = 0

  def command(argv: Sequence[str]) -> None:
    nonlocal code
    code = _preflight(argv)

  return cli.guard(command, argv, __doc__) or code


def _preflight(argv: Sequence[str]) -> int:
  values, rest = _parse_flags(argv)
  topologies = [chips.topology(name) for name in values.topology]
  if not topologies:
    raise UserError(
      'No --topology was given, such as --topology=v5e:1x1 or v5e:4x4.'
    )
  chips.prepare(os.environ, max(t.chips for t in topologies))
  # A program that was kept would compile in no time.
  jax.config.update('jax_enable_compilation_cache', False)
  # Here, because the environment must be set before jax looks for devices.
  from moe_lite.preflight import cheapest, configuration, report

  entry = configuration.configure(rest)
  if not chips.has_compiler():
    print(
      'libtpu is not installed (pip install "moe_lite[preflight]"): compiling '
      'for CPU devices. The bytes of activations, the bytes moved and whether '
      'it fits are not known.',
      file=sys.stderr,
    )
  all_fit = True
  for topology in topologies:
    on = chips.Slice.of(topology)
    print(
      f'Compiling for {topology.name}; minutes for a large model.',
      file=sys.stderr,
    )
    if values.sweep:
      reports = cheapest.sweep(entry, on, values.grid)
    else:
      reports = configuration.check(entry, on)
    for r in reports:
      if values.json:
        print(json_text.dumps(report.as_json(r)), flush=True)
      else:
        print(report.as_text(r), flush=True)
    all_fit &= bool(reports) and all(r.fits for r in reports)
  if not values.json:
    print("These are the compiler's figures and published peaks; nothing ran.")
  return 0 if all_fit else DOES_NOT_FIT


def _parse_flags(
  argv: Sequence[str],
) -> tuple[flags.FlagValues, list[str]]:
  """Splits the flags into preflight's own and the rest, which are the run's."""
  values = flags.FlagValues()
  flags.DEFINE_multi_string('topology', [], 'A slice.', values)
  flags.DEFINE_bool('json', False, 'For programs.', values)
  flags.DEFINE_bool('sweep', False, 'Look for the cheapest.', values)
  flags.DEFINE_multi_string('grid', [], 'MACRO=V,V.', values)
  own, rest = [argv[0]], [argv[0]]
  for argument in argv[1:]:
    name = argument.lstrip('-').partition('=')[0].removeprefix('no')
    (own if name in values else rest).append(argument)
  try:
    values(own)
  except flags.Error as error:
    raise UserError(f'{error} See --help.') from error
  return values, rest
