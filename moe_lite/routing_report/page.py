"""One HTML file that needs no other: pictures and sentences are within it."""

import base64
import dataclasses
import importlib.resources
from collections.abc import Sequence
from typing import Any

import jinja2
import numpy as np
from etils import epath

from moe_lite.inference.token_routing import RoutedTokens
from moe_lite.routing_report import verdicts
from moe_lite.routing_report.rows import Row
from moe_lite.routing_report.sentences import Sentence

_TEMPLATE = 'page.html'
# In percent. Both are light enough for dark text. Experts whose hues are close
# differ in lightness.
_LIGHTNESS = (56, 72)

# The name of a picture to its title, and to what it shows and how to read it.
CAPTIONS = {
  'usage': (
    'Which experts serve which data sets',
    'Mean router probability of every expert over the tokens of a data set, '
    'times the number of experts. 1 is what a router without a preference '
    'gives, and the number of experts is the most there can be.',
  ),
  'entropy': (
    'How sure routers are, by depth',
    'Entropy of the probabilities of a token, and of their mean over a data '
    'set, as shares of the greatest entropy that there can be. Where a token '
    'is far below the mean, experts specialise. Where both are near 1, '
    'routing makes no difference. Where both are low, few experts are used at '
    'all.',
  ),
  'datasets': (
    'Which data sets are routed alike',
    'Jensen-Shannon divergence of the mean probabilities of two data sets, '
    'averaged over all routers, and the tree of their clusters (average '
    'linkage). It is at most 1 bit, where two data sets share no expert. The '
    'diagonal shows noise: the divergence of two halves of the examples of one '
    'data set. Differences of that size mean nothing.',
  ),
  'shift': (
    'Held-out against training data sets',
    'Jensen-Shannon divergence of a held-out data set from the mean over '
    'training data sets, and of a training data set from the mean of the '
    'others. Where the first is far above the second, unseen tasks use the '
    'experts in another way. The dotted line is noise: the divergence of two '
    'halves of the examples of one data set.',
  ),
  'experts': (
    'Which experts do the same',
    'Cosine of what two experts add to the frozen base. Where all are near 1, '
    'one expert would do.',
  ),
}


@dataclasses.dataclass(frozen=True)
class Picture:
  """A picture of the report.

  Attributes:
    name: its name, one of `CAPTIONS`.
    png: the file of the picture.
    csv: the file of its numbers, beside the page.
    said: what is to be said of it beside its caption.
  """

  name: str
  png: epath.Path
  csv: epath.Path
  said: str = ''


@dataclasses.dataclass(frozen=True)
class _Token:
  text: str
  colour: str
  expert: int
  percent: str


def render(
  title: str,
  facts: Sequence[tuple[str, str]],
  pictures: Sequence[Picture],
  notes: Sequence[str],
  judged: Sequence[Row],
  judged_csv: str,
  sentences: Sequence[Sentence],
  routers: Sequence[str],
  scope: str,
  sentences_csv: str,
) -> str:
  """Makes the page.

  Args:
    title: the title of the page.
    facts: what was measured, as rows of two columns.
    pictures: the pictures from top to bottom.
    notes: what could not be shown, and why.
    judged: a row for every router; see `verdicts.judge`.
    judged_csv: the file of these rows, beside the page.
    sentences: the sentences to colour.
    routers: the routers to colour them by.
    scope: which routers these are, in words.
    sentences_csv: the file of the sentences' numbers, beside the page.

  Returns:
    The page as HTML.
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
  experts = max(
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
    pictures=[_shown(picture) for picture in pictures],
    notes=notes,
    headline=verdicts.headline(judged),
    meanings=verdicts.MEANINGS,
    judged=judged,
    judged_csv=judged_csv,
    scope=scope,
    legend=[colour_of(expert, experts) for expert in range(experts)],
    sentences=_coloured(sentences, routers),
    sentences_csv=sentences_csv,
  )


def colour_of(expert: int, experts: int, opacity: float = 1.0) -> str:
  """The colour of an expert, one of `experts`, in CSS."""
  hue = 360 * expert / experts
  lightness = _LIGHTNESS[expert % 2]
  return f'hsl({hue:.0f} 75% {lightness}% / {opacity:.2f})'


def _shown(picture: Picture) -> dict[str, Any]:
  title, text = CAPTIONS[picture.name]
  png = picture.png.read_bytes()
  return {
    'title': title,
    'text': f'{text} {picture.said}'.strip(),
    'csv': picture.csv.name,
    'png': base64.b64encode(png).decode(),
    # A PNG file holds its width in the bytes 16 to 19.
    'width': int.from_bytes(png[16:20], 'big'),
  }


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
  """How far each expert of a token is above its part, [N, E]; 0 if below."""
  p = routed.probabilities
  return np.maximum(p * p.shape[1] - 1, 0)


def _tokens(routed: RoutedTokens, strongest: float) -> list[_Token]:
  """Colours tokens by their likeliest experts.

  The stronger the preference for it, the stronger the colour, up to the full
  colour for a preference of `strongest`.
  """
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
        colour_of(expert, len(p), opacity),
        expert,
        f'{100 * p[expert]:.0f}',
      )
    )
  return tokens
