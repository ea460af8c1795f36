"""One HTML file that needs no other: pictures and numbers are within it."""

import base64
import dataclasses
import importlib.resources
from collections.abc import Sequence
from typing import Any

import jinja2
import numpy as np
from etils import epath

from moe_lite.inference.token_routing import RoutedTokens
from moe_lite.routing_report.sentences import Sentence

_TEMPLATE = 'page.html'
# Light enough for dark text; neighbours differ in it, as many hues are close.
_LIGHTNESS = (56, 72)


@dataclasses.dataclass(frozen=True)
class Picture:
  """A picture of the report and what goes with it.

  Attributes:
    title: above it.
    text: what it shows, and how to read it.
    png: its file.
    csv: the file of its numbers.
  """

  title: str
  text: str
  png: epath.Path
  csv: epath.Path


@dataclasses.dataclass(frozen=True)
class _Token:
  text: str
  colour: str
  hint: str


def render(
  title: str,
  facts: Sequence[tuple[str, str]],
  pictures: Sequence[Picture],
  notes: Sequence[str],
  sentences: Sequence[Sentence],
  routers: Sequence[str],
  sentences_csv: str,
) -> str:
  """The page.

  Args:
    title: of it.
    facts: what was measured, in two columns.
    pictures: from top to bottom.
    notes: what could not be shown, and why.
    sentences: to colour.
    routers: to colour them by.
    sentences_csv: the file of their numbers.
  """
  environment = jinja2.Environment(
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
  )
  template = importlib.resources.files('moe_lite.routing_report').joinpath(
    _TEMPLATE
  )
  most = max(
    (
      routed.probabilities.shape[1]
      for sentence in sentences
      for routed in sentence.routing.routers.values()
    ),
    default=0,
  )
  return environment.from_string(template.read_text(encoding='utf-8')).render(
    title=title,
    facts=facts,
    pictures=[
      {
        'title': picture.title,
        'text': picture.text,
        'csv': picture.csv.name,
        'png': base64.b64encode(picture.png.read_bytes()).decode(),
      }
      for picture in pictures
    ],
    notes=notes,
    legend=[_colour(e, most) for e in range(most)],
    sentences=_coloured(sentences, routers),
    sentences_csv=sentences_csv,
  )


def _coloured(
  sentences: Sequence[Sentence], routers: Sequence[str]
) -> list[dict[str, Any]]:
  strongest = {
    router: max(
      (_preference(s.routing.routers[router]).max() for s in sentences),
      default=0,
    )
    for router in routers
  }
  return [
    {
      'dataset': sentence.dataset,
      'task': sentence.task,
      'routers': [
        (router, _tokens(sentence.routing.routers[router], strongest[router]))
        for router in routers
      ],
    }
    for sentence in sentences
  ]


def _preference(routed: RoutedTokens) -> np.ndarray:
  """[N, E]: 0 where an expert gets no more than its part, else above."""
  p = routed.probabilities
  return np.maximum(p * p.shape[1] - 1, 0)


def _tokens(routed: RoutedTokens, strongest: float) -> list[_Token]:
  tokens = []
  for text, p, over in zip(
    routed.tokens, routed.probabilities, _preference(routed), strict=True
  ):
    expert = int(p.argmax())
    opacity = over[expert] / strongest if strongest > 0 else 0.0
    tokens.append(
      _Token(
        # SentencePiece's mark of a space before a word.
        text.replace('\u2581', ' '),
        _colour(expert, len(p), opacity),
        f'{text}: ' + ', '.join(f'{e}: {p[e]:.2f}' for e in np.argsort(-p)[:3]),
      )
    )
  return tokens


def _colour(expert: int, experts: int, opacity: float = 1.0) -> str:
  hue = 360 * expert / experts
  lightness = _LIGHTNESS[expert % 2]
  return f'hsl({hue:.0f} 75% {lightness}% / {opacity:.2f})'
