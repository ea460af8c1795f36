"""Checks whether an adapter or a router keeps what all of them promise.

  python -m moe_lite.t5.contract MODULE:CLASS [MODULE:CLASS ...]

imports each class as Python does, from the working folder or PYTHONPATH, and
lets it stand at one site of each shape that T5 has, on a few random tokens. A
router is also put into MoV and MoLoRA. The command prints each promise, and for
one that is broken what broke and what to do. It takes no base, no data and no
gin file.

CLASS may also be a `functools.partial` of a class that sets its fields. The
exit code is 0 if all promises are kept, 1 if one is broken, and 2 if the class
cannot be found or built.
"""

import functools
import importlib
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from moe_lite.adapters.adapter import Adapter
from moe_lite.core.errors import UserError, nearest
from moe_lite.process import cli
from moe_lite.routing.router import BaseRouter
from moe_lite.t5.contract import observing, promises, routers
from moe_lite.t5.contract.promises import Result

_KINDS = (Adapter, BaseRouter)
_USAGE = 'Give MODULE:CLASS, such as my_package.shift:Shift. See --help.'


class BrokenPromise(UserError):
  """A class breaks a promise. The command ends with exit code 1."""

  exit_code = 1


def find(name: str) -> Any:
  """Imports an adapter or a router.

  Args:
    name: 'MODULE:CLASS'.

  Raises:
    UserError: if there is no such module, or no such class in it.
  """
  module, _, attribute = name.partition(':')
  if not module or not attribute:
    raise UserError(f'{name!r} does not name a class. {_USAGE}')
  try:
    place = importlib.import_module(module)
  except ModuleNotFoundError as error:
    # The module itself may import one that is missing.
    if not f'{module}.'.startswith(f'{error.name}.'):
      raise
    raise UserError(
      f'There is no module {error.name!r}. Run the command in the folder that '
      'holds it, or name that folder in PYTHONPATH.'
    ) from error
  found = getattr(place, attribute, None)
  if is_checked(found):
    return found
  others = [x for x, value in vars(place).items() if is_checked(value)]
  if found is None:
    what = f'{module} has no {attribute!r}.{nearest(attribute, others)}'
  else:
    what = f'{name} is neither an adapter nor a router.'
  raise UserError(
    f'{what} Its adapters and routers: {", ".join(others) or "none"}.'
  )


def is_checked(value: Any) -> bool:
  """Whether a value is an adapter or a router, or a partial of one."""
  kind = _kind(value)
  return isinstance(kind, type) and issubclass(kind, _KINDS)


def check(factory: Any) -> dict[str, list[Result]]:
  """Checks all promises of an adapter or a router.

  Args:
    factory: what builds it.

  Returns:
    The results by title. A router has a title for itself, and one for each
    mixture.

  Raises:
    UserError: if it cannot be built, or stands at none of T5's sites.
  """
  kind = _kind(factory)
  if issubclass(kind, BaseRouter):
    return routers.check(factory)
  sites = observing.sites(factory)
  checked = observing.one_of_each_shape(sites)
  title = f'{kind.__name__} at {", ".join(site.name for site in checked)}'
  return {title: promises.check(factory, checked)}


def text(found: Mapping[str, Sequence[Result]]) -> str:
  """Returns the results of `check` as lines to read."""
  lines = []
  for title, results in found.items():
    lines.append(title)
    for result in results:
      state = 'ok' if result.is_kept else 'BROKEN'
      if not result.checked:
        state = 'not seen'
      lines.append(f'  {state:8}  {result.promise.name}')
      for how in dict.fromkeys(result.broken.values()):
        places = [at for at, x in result.broken.items() if x == how]
        lines.append(_paragraph(f'at {", ".join(places)}: {how}'))
      if result.broken:
        lines.append(_paragraph(f'To mend it: {result.promise.advice}'))
  return '\n'.join(lines)


def contract(argv: Sequence[str]) -> None:
  """Runs the command; see the module.

  Raises:
    BrokenPromise: if a promise is broken.
    UserError: if a class cannot be found or built.
  """
  try:
    _, *names = flags.FlagValues()(argv)
  except flags.Error as error:
    raise UserError(f'{error} {_USAGE}') from error
  if not names:
    raise UserError(_USAGE)
  found = [check(find(name)) for name in names]
  print('\n\n'.join(map(text, found)))
  results = [x for one in found for some in one.values() for x in some]
  kept = sum(result.is_kept for result in results)
  if kept < len(results):
    raise BrokenPromise(
      f'{kept} of {len(results)} promises are kept. What to do about the '
      'others is said above.'
    )
  print(f'\nAll {kept} promises are kept.')


def main(argv: Sequence[str]) -> int:
  """Runs the command, and returns its exit code."""
  return cli.guard(contract, argv, __doc__)


def _kind(value: Any) -> Any:
  while isinstance(value, functools.partial):
    value = value.func
  return value


def _paragraph(words: str) -> str:
  return textwrap.fill(
    words,
    78,
    initial_indent=' ' * 12,
    subsequent_indent=' ' * 12,
    break_long_words=False,
    break_on_hyphens=False,
  )
