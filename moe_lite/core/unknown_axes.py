"""Refuses parameters whose logical axes no rule knows."""

from moe_lite.core import parameters
from moe_lite.core.errors import UserError, nearest, some
from moe_lite.core.logical_axes import OF_PARAMETERS
from moe_lite.core.types import Tree


def check(params: Tree, axes: Tree) -> None:
  """Checks that the axes of every parameter are known.

  Without this check, the dimension of an unknown axis would lie whole on every
  device, whatever its size.

  Args:
    params: the parameters, or their shapes.
    axes: the logical axes of every parameter; see `partitioning.axis_names`.

  Raises:
    UserError: if a parameter has no axes, or an axis that is not one of
      `logical_axes.OF_PARAMETERS`. The message names the parameter.
  """
  named = parameters.flatten(axes)
  nameless = [x for x in parameters.flatten(params) if x not in named]
  if nameless:
    raise UserError(
      f'{some(nameless, 1)}: the parameter has no logical axes. Declare it '
      'with `partitioning.param` of moe_lite.core, and name an axis for each '
      f'dimension: {", ".join(OF_PARAMETERS)}.'
    )
  unknown: dict[str, list[str]] = {}
  for path, names in named.items():
    for name in names:
      if name not in OF_PARAMETERS:
        unknown.setdefault(name, []).append(path)
  if unknown:
    name, paths = next(iter(unknown.items()))
    raise UserError(
      f'{some(paths, 1)}: the logical axis {name!r} of the parameter is not '
      f'known.{nearest(name, OF_PARAMETERS)} The axes of parameters are '
      f"{', '.join(OF_PARAMETERS)}. Name a short dimension of your own 'rank'."
    )
