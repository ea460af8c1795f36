"""Where routers stand, and which of them a report looks at closely."""

import dataclasses
import re
from collections import defaultdict
from collections.abc import Collection, Iterable

from moe_lite.core.errors import UserError


@dataclasses.dataclass(frozen=True, order=True)
class Place:
  """Where routers stand that differ in nothing but their layer.

  Attributes:
    stack: 'encoder' or 'decoder'.
    site: the site within a layer, such as 'attention/key'.
  """

  stack: str
  site: str


def place_of(router: str) -> tuple[Place, int]:
  """The place and the layer of 'encoder/layers_1/attention/key'.

  A router that decides for a whole stack, 'encoder/stack', counts as one of
  layer 0.
  """
  stack, _, rest = router.partition('/')
  match = re.fullmatch(r'layers_(\d+)/(.+)', rest)
  if match is None:
    return Place(stack, rest), 0
  return Place(stack, match[2]), int(match[1])


def by_place(routers: Iterable[str]) -> dict[Place, list[str]]:
  """The routers of every place, from the first layer to the last.

  Places of the encoder come first.
  """
  places: dict[Place, list[str]] = defaultdict(list)
  for router in sorted(routers, key=lambda x: place_of(x)[1]):
    places[place_of(router)[0]].append(router)
  return {
    place: places[place]
    for place in sorted(places, key=lambda x: (x.stack != 'encoder', x))
  }


def choose(routers: Collection[str], pattern: str | None) -> list[str]:
  """Chooses the routers to look at closely, of which there may be none.

  Args:
    routers: the names of all routers.
    pattern: a regular expression that is looked for anywhere in a name; None
      takes the last layer of every place.

  Raises:
    UserError: if the pattern is not a regular expression.
  """
  places = by_place(routers)
  if pattern is None:
    return [there[-1] for there in places.values()]
  try:
    fits = re.compile(pattern).search
  except re.error as error:
    raise UserError(
      f'--routers={pattern} is not a regular expression: {error}.'
    ) from error
  return [x for there in places.values() for x in there if fits(x)]
