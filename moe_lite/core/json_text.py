"""JSON text that every program can read: there is no NaN in it."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from moe_lite.core.errors import UserError


def dumps(content: Any, **options: Any) -> str:
  """Returns the JSON text of a value.

  Args:
    content: what `json.dumps` takes.
    **options: those of `json.dumps`.

  Raises:
    UserError: if a number in it is NaN or infinite. Python would write such a
      number as a word that is not JSON. The message names its place.
  """
  try:
    return json.dumps(content, allow_nan=False, **options)
  except ValueError as error:
    if 'JSON compliant' not in str(error):
      raise
    for place, value in _numbers(content, ''):
      if not math.isfinite(value):
        raise UserError(
          f'{place or "A number"} is {value}, so nothing was written: only '
          'finite numbers are results. What it was computed from, such as the '
          'parameters of a run that diverged, is not finite either.'
        ) from None
    raise


def _numbers(content: Any, place: str) -> Iterator[tuple[str, float]]:
  """Yields every float with its place, such as 'tasks/0/value'."""
  if isinstance(content, Mapping):
    entries = content.items()
  elif isinstance(content, list | tuple):
    entries = enumerate(content)
  else:
    if isinstance(content, float):
      yield place, content
    return
  for name, value in entries:
    yield from _numbers(value, f'{place}/{name}' if place else str(name))
