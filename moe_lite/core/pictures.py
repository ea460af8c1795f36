"""What all pictures have in common: how they are written, and their colours."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from etils import epath

_P = ParamSpec('_P')
_R = TypeVar('_R')

# Colours of Okabe and Ito (Color Universal Design, 2008): colour-blind readers
# tell them apart. They also differ in lightness, and so in a grey print.
BLUE, VERMILION, GREEN, ORANGE = '#0072B2', '#D55E00', '#009E73', '#E69F00'
COLOURS = (BLUE, VERMILION, GREEN, '#CC79A7', ORANGE, '#56B4E9', '#000000')
# A second sign beside the colour.
MARKERS = 'osD^vPX'
# For what did not train: the frozen base, chance, noise. No run has it.
GREY = '0.45'
# The colours of maps. They grow lighter from the least to the greatest value,
# also for colour-blind readers and in a grey print.
MAP = 'viridis'


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


def at_the_right(
  axes: Any, y: float, text: str, points: float, **style: Any
) -> None:
  """Writes beside the right end of a row.

  Args:
    axes: axes of matplotlib, with a row at each whole height.
    y: the height of the row.
    text: what to write.
    points: how far from the end.
    **style: see `matplotlib.text.Text`.
  """
  axes.annotate(
    text,
    (1, y),
    xycoords=('axes fraction', 'data'),
    xytext=(points, 0),
    textcoords='offset points',
    va='center',
    **style,
  )


def title_of(folder: str) -> str:
  """The end of a run's path, which is short enough for a title."""
  return '/'.join([x for x in folder.split('/') if x][-3:])


def save(figure: Any, png: epath.PathLike) -> None:
  """Writes a figure of matplotlib as a PNG file, also to a bucket."""
  with epath.Path(png).open('wb') as file:
    figure.savefig(file, format='png', dpi=120)
