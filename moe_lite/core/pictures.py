"""What all pictures have in common."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_P = ParamSpec('_P')
_R = TypeVar('_R')


def plain_text(function: Callable[_P, _R]) -> Callable[_P, _R]:
  """Has a function that draws take names as they are.

  Matplotlib reads what stands between two '$' as mathematics, and fails where
  it is none. Names of tasks, runs and files may hold any characters.
  """

  @functools.wraps(function)
  def draw(*args: _P.args, **kwargs: _P.kwargs) -> _R:
    import matplotlib

    with matplotlib.rc_context({'text.parse_math': False}):
      return function(*args, **kwargs)

  return draw
