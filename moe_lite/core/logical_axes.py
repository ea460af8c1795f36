"""The logical axes that parameters may have, and what each is split over.

A parameter names the axis of each of its dimensions where it is declared; see
`partitioning.param`. The rules map these names to the mesh axes `data` and
`model`. The names are those of T5X, and four more for adapters and routers:
`expert`, `rank`, `task` and `split`.
"""

from moe_lite.core import parameters
from moe_lite.core.errors import UserError, nearest, some
from moe_lite.core.types import Tree

# The axes that T5X has no rule for. They are short, and every device holds the
# whole of them.
SHORT = ('expert', 'rank', 'task', 'split')
# These are T5X's standard rules: parameters are split over `model`, batches
# over `data`.
RULES: tuple[tuple[str, str | None], ...] = (
  ('batch', 'data'),
  ('length', None),
  ('embed', None),
  ('mlp', 'model'),
  ('heads', 'model'),
  ('kv', None),
  ('joined_kv', 'model'),
  ('vocab', 'model'),
  ('relpos_buckets', None),
  ('layers', None),
  *((name, None) for name in SHORT),
)
# A frozen base has no gradients to reduce, so it may be split over `data` as
# well. Each weight is then gathered where it is used.
FULLY_SHARDED_RULES = tuple(
  (name, 'data' if name == 'embed' else mesh_axis) for name, mesh_axis in RULES
)
# The axes of activations, which parameters do not have.
_OF_ACTIVATIONS = ('batch', 'length')
# The axes that the dimension of a parameter may have.
OF_PARAMETERS = tuple(name for name, _ in RULES if name not in _OF_ACTIVATIONS)


def check(params: Tree, axes: Tree) -> None:
  """Checks that the axes of every parameter are known.

  Without this check, the dimension of an unknown axis would lie whole on every
  device, whatever its size.

  Args:
    params: the parameters, or their shapes.
    axes: the logical axes of every parameter; see `partitioning.axis_names`.

  Raises:
    UserError: if a parameter has no axes, or an axis that is not one of
      `OF_PARAMETERS`. The message names the parameter.
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
