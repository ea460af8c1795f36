"""The options of `TextModel.generate`, and what it gives."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypedDict

from moe_lite.core.errors import UserError
from moe_lite.inference.generation import Generator
from moe_lite.inference.padding import Shapes
from moe_lite.inference.trained import Trained
from moe_lite.models import decoding


class Generated(NamedTuple):
  """A text that was generated, and its score.

  Attributes:
    text: the text.
    score: the log-probability of its ids given the input, in nats, summed over
      them. EOS counts, unless the text was cut off at `max_length`.
  """

  text: str
  score: float


class Options(TypedDict, total=False):
  """The options that do not change the type of the result."""

  num_beams: int
  temperature: float | None
  top_k: int
  top_p: float
  seed: int


@dataclasses.dataclass(frozen=True)
class GenerationOptions:
  """How texts are generated; see `TextModel.generate` for the attributes."""

  max_length: int = 64
  num_beams: int = 1
  temperature: float | None = None
  top_k: int = 0
  top_p: float = 1.0
  num_return_sequences: int = 1

  def __post_init__(self) -> None:
    """Checks the options.

    Raises:
      UserError: if one is out of its range, or if they exclude each other.
    """
    for name in ('max_length', 'num_beams', 'num_return_sequences'):
      check_whole(name, getattr(self, name), least=1)
    count = self.num_return_sequences
    if self.is_drawn:
      if self.num_beams != 1:
        raise UserError(
          f'num_beams = {self.num_beams} cannot be given with temperature = '
          f'{self.temperature}, top_k = {self.top_k} and top_p = {self.top_p}, '
          'because beams are not drawn. Give one or the other.'
        )
    elif count > self.num_beams:
      what = f'num_return_sequences = {count}'
      raise UserError(
        f'{what} is more than num_beams = {self.num_beams}: a search finds as '
        f'many texts as it has beams. Give num_beams={count}.'
        if self.num_beams > 1
        else f'{what}, but the likeliest token is taken at every step, which '
        f'gives a single text. Give num_beams={count}, or draw with '
        'temperature=1.0, top_k or top_p.'
      )

  @property
  def is_drawn(self) -> bool:
    """Whether tokens are drawn."""
    asked = (self.temperature, self.top_k, self.top_p)
    return asked != (None, 0, 1.0)

  @property
  def compiled(self) -> 'GenerationOptions':
    """Equal for options that share a compiled program.

    A search with K beams computes all K of them, however many are wanted.
    """
    if self.is_drawn:
      return self
    return dataclasses.replace(self, num_return_sequences=1)

  def generator(self, trained: Trained, shapes: Shapes) -> Generator:
    """Makes a generator that gives a list of outputs for each input."""
    count = self.num_return_sequences if self.is_drawn else self.num_beams
    return Generator(
      trained, shapes, self._decode_fn(), count, all_decodes=True
    )

  def _decode_fn(self) -> Callable[..., Any]:
    if self.is_drawn:
      temperature = 1.0 if self.temperature is None else self.temperature
      return functools.partial(
        decoding.sample,
        temperature=temperature,
        top_k=self.top_k,
        top_p=self.top_p,
      )
    return decoding.greedy if self.num_beams == 1 else decoding.beam_search


def check_whole(name: str, value: object, least: int) -> None:
  """Raises UserError unless an option is a whole number of at least `least`."""
  if isinstance(value, bool) or not isinstance(value, int) or value < least:
    raise UserError(
      f'{name} = {value!r} must be a whole number of at least {least}.'
    )
