"""Libraries of random experts on a tiny base."""

import functools

from moe_lite import adapters
from moe_lite.library import command
from moe_lite.process import cli
from tests import tiny_export

LORA = {
  site: functools.partial(adapters.LoRA, rank=2, alpha=3.0)
  for site in ('query', 'key', 'wo')
}
IA3 = dict.fromkeys(('key', 'intermediate'), adapters.IA3)
NAMES = ('apples', 'boats', 'clouds')


def run(*argv):
  """Runs `python -m moe_lite.library`; returns its exit code."""
  return cli.guard(command.library, ['library', *map(str, argv)], None)


def write(folder, sites=LORA, names=NAMES):
  """Writes a base and a library with an expert for each name."""
  base = tiny_export.write_base(folder / 'base')
  for seed, name in enumerate(names):
    expert = tiny_export.write(
      folder / name, base, vocabulary=b'pieces', sites=sites, seed=seed
    )
    assert run('add', folder / 'library', name, expert) == 0
  return base, str(folder / 'library')
