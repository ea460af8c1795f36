"""python -m moe_lite.preflight.slices [--recipe=NAME,...] [--kind=v5e]

Finds the smallest slice that each recipe of gin/recipes fits on, writes it to
launch/slices.json, and makes the table of launch/README.md from that file. A
recipe that the file already has is not tried again, so that an interrupted
command can go on; remove the recipe's entry, or the file, to try again. The
command needs a checkout and libtpu, and takes minutes for each recipe.
"""

import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from absl import flags

from moe_lite.core import json_text
from moe_lite.core.errors import UserError
from moe_lite.preflight import chips
from moe_lite.process import cli

ROOT = pathlib.Path(__file__).parents[2]
SLICES = ROOT / 'launch' / 'slices.json'
README = ROOT / 'launch' / 'README.md'
BEGIN, END = '<!-- table: begin -->', '<!-- table: end -->'

_SIZES = ('large', 'xl', 'xxl')
_METHODS = ('ia3', 'lora', 'mov', 'molora', 'full')

# How many rows a chip works on at once, and the remat policy. The cheapest pair
# comes first.
TRIALS = ((2, 'minimal'), (2, 'full'), (1, 'full'))
# No run reaches the bound. The table also has the speed at this share of it.
_OF_BOUND = 0.55


@dataclasses.dataclass(frozen=True)
class Entry:
  """A recipe's smallest slice.

  Attributes:
    recipe: the name of its file.
    topology: the name of the slice, such as 'v5e:4x4'.
    settings: the gin macros under which it fits.
    report: what `report.as_json` gives for the training step.
  """

  recipe: str
  topology: str
  settings: Mapping[str, Any]
  report: Mapping[str, Any]


def main(argv: Sequence[str]) -> None:
  """Tries recipes, and writes down what was found after each."""
  values = flags.FlagValues()
  flags.DEFINE_list('recipe', [], 'Names; all by default.', values)
  flags.DEFINE_string('kind', 'v5e', 'Of chips.', values)
  try:
    values(argv)
  except flags.Error as error:
    raise UserError(f'{error} See --help.') from error
  if not chips.has_compiler():
    raise UserError('libtpu is not installed: pip install ".[preflight]".')
  chips.prepare(os.environ, 1)
  from moe_lite.core.progress import say

  entries = {e.recipe: e for e in read()}
  for recipe in values.recipe or recipes():
    if recipe not in entries:
      entries[recipe] = smallest(recipe, values.kind)
      write(entries.values())
      say(f'{recipe}: {entries[recipe].topology}')
  write(entries.values())
  say(f'Results are in {SLICES} and {README}.')


def recipes() -> list[str]:
  """The names of the recipes that are whole runs, such as 'xl_mov_10'."""
  files = sorted((ROOT / 'gin' / 'recipes').glob('*.gin'))
  names = [f.stem for f in files if f.stem.split('_')[0] in _SIZES]

  def order(name: str) -> tuple[int, ...]:
    size, method, *variant = name.split('_')
    numbers = map(int, variant)
    return (_SIZES.index(size), _METHODS.index(method), *numbers)

  return sorted(names, key=order)


def smallest(recipe: str, kind: str) -> Entry:
  """Finds the first slice and setting that fit.

  Raises:
    UserError: if none of the kind's slices is large enough.
  """
  from moe_lite.preflight import configuration, report

  problem = ''
  for shape in chips.CHIPS[kind].slices:
    topology = chips.topology(f'{kind}:{shape}')
    on = chips.Slice.of(topology)
    for settings in _settings(recipe, topology.chips):
      entry = configuration.configure(['', f'--gin_file=recipes/{recipe}.gin'])
      configuration.bind(settings)
      (found,) = configuration.check(entry, on)
      if found.fits:
        return Entry(recipe, topology.name, settings, report.as_json(found))
      problem = found.problem or ''
  raise UserError(f'{recipe} fits on no slice of {kind}: {problem}')


def _settings(recipe: str, num_chips: int) -> Iterator[dict[str, Any]]:
  """Yields what to try: first a whole base on each chip, then a split base."""
  batch_size = 256 if recipe.endswith('_full') else 32
  for fully_sharded in (False, True) if num_chips > 1 else (False,):
    for rows, remat in TRIALS:
      if batch_size >= rows * num_chips:
        yield {
          'MICROBATCHES': batch_size // (rows * num_chips),
          'REMAT': remat,
          'FULLY_SHARDED': fully_sharded,
        }


def read() -> list[Entry]:
  """Reads what was found before."""
  if not SLICES.exists():
    return []
  return [Entry(**entry) for entry in json.loads(SLICES.read_text())]


def write(entries: Iterable[Entry]) -> None:
  """Writes the entries, and the table made of them."""
  order = {recipe: i for i, recipe in enumerate(recipes())}
  entries = sorted(entries, key=lambda e: order[e.recipe])
  data = [dataclasses.asdict(entry) for entry in entries]
  SLICES.write_text(json_text.dumps(data, indent=1) + '\n')
  before, _, rest = README.read_text().partition(BEGIN)
  _, _, after = rest.partition(END)
  README.write_text(f'{before}{BEGIN}\n{markdown(entries)}\n{END}{after}')


def markdown(entries: Sequence[Entry]) -> str:
  """The table, with a row for each recipe."""
  lines = [
    '| recipe | slice | rows a chip, remat, base | GiB a chip | TFLOP a step, '
    '× least | at least | MFU, % | tokens/s, at 55 % |',
    '|---|---|---|---:|---:|---:|---:|---:|',
  ]
  for e in entries:
    r, s = e.report, e.settings
    rows = r['rows'] // (s['MICROBATCHES'] * r['chips'])
    split = 'split' if s['FULLY_SHARDED'] else 'whole'
    peak = chips.topology(e.topology).chip.flops * r['chips']
    mfu = 100 * r['least_flops'] / r['least_seconds'] / peak
    speed = r['tokens'] / r['least_seconds']
    lines.append(
      f'| `{e.recipe}` | {e.topology} | {rows}, {s["REMAT"]}, {split} | '
      f'{r["bytes"]["total"] / 2**30:.2f} | {r["flops"] / 1e12:,.0f}, '
      f'{r["flops_over_least"]:.3f} | {r["least_seconds"]:.2f} s | '
      f'{mfu:.0f} | {speed:,.0f}, {_OF_BOUND * speed:,.0f} |'
    )
  return '\n'.join(lines)


if __name__ == '__main__':
  sys.exit(cli.guard(main, sys.argv, __doc__))
