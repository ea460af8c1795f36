"""What routers make of the tokens of one text."""

import base64
import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from etils import epath

from moe_lite.core.errors import UserError, nearest
from moe_lite.core.tables import table
from moe_lite.core.types import Tree
from moe_lite.inference import heatmaps
from moe_lite.routing.statistics import by_router

if TYPE_CHECKING:
  from matplotlib.figure import Figure

# A notebook shows at most so many routers of each stack.
_MOST_PANELS = 12
# The sites of the decoder that read what the encoder wrote.
_READ_ENCODED = tuple(
  f'encoder_decoder_attention/{site}' for site in ('key', 'value')
)


@dataclasses.dataclass(frozen=True)
class RoutedTokens:
  """What one router makes of N tokens.

  Attributes:
    tokens: N pieces of text.
    probabilities: [N, E], averaged over heads, as in the routing report.
    weights: [N, E], the weights of experts in the mixture. A top-k router gives
      0 to the experts that it leaves out.
    by_head: [N, H, E], the probabilities of a router that routes each head by
      itself; else None.
  """

  tokens: Sequence[str]
  probabilities: np.ndarray
  weights: np.ndarray
  by_head: np.ndarray | None


@dataclasses.dataclass(frozen=True, repr=False)
class TokenRouting:
  """What all routers make of an input, and of a target if one is given.

  Attributes:
    tokens: the pieces of the input.
    target_tokens: the pieces of the target, with EOS at their end; empty where
      there is no target.
    routers: the routers by name, such as 'encoder/layers_0/attention/key'.
      Without a target these are the routers of the encoder.
  """

  tokens: Sequence[str]
  target_tokens: Sequence[str]
  routers: Mapping[str, RoutedTokens]

  def __repr__(self) -> str:
    """The mean of every router over the tokens; `table` has single tokens."""
    experts = max(x.probabilities.shape[1] for x in self.routers.values())
    rows = [
      (name, *(f'{p:.3f}' for p in routed.probabilities.mean(0)))
      for name, routed in self.routers.items()
    ]
    rows = [(*row, *[''] * (1 + experts - len(row))) for row in rows]
    header = ('mean probability of expert', *map(str, range(experts)))
    text = ' '.join(self.tokens)
    if self.target_tokens:
      text += ' -> ' + ' '.join(self.target_tokens)
    return f'{text}\n\n{table(header, rows)}'

  def table(self, router: str) -> str:
    """The probabilities of one router as Markdown, with a row for each token.

    Raises:
      UserError: if there is no such router.
    """
    routed = self._router(router)
    header = ('token', *map(str, range(routed.probabilities.shape[1])))
    rows = [
      (token, *(f'{p:.3f}' for p in row))
      for token, row in zip(routed.tokens, routed.probabilities, strict=True)
    ]
    return table(header, rows)

  def to_dict(self) -> dict[str, Any]:
    """Everything as lists, for JSON."""
    return {
      'tokens': list(self.tokens),
      'target_tokens': list(self.target_tokens),
      'routers': {
        name: {
          'tokens': list(routed.tokens),
          'probabilities': routed.probabilities.tolist(),
          'weights': routed.weights.tolist(),
        }
        for name, routed in self.routers.items()
      },
    }

  def figure(
    self, stack: str = 'encoder', routers: Sequence[str] | None = None
  ) -> 'Figure':
    """Draws the probabilities of a stack's routers, with tokens as rows.

    Args:
      stack: 'encoder', or 'decoder' for those of its routers that read the
        target.
      routers: the names of the routers to draw. None draws all of the stack.

    Returns:
      A figure of matplotlib, with a heat map for each router. It shows the
      probability of each expert, times the number of experts: 1 is that of
      an expert that is neither preferred nor avoided.

    Raises:
      UserError: if no router of the stack read a token, or if there is no such
        router.
    """
    for name in routers or ():
      self._router(name)
    tokens = self.tokens if stack == 'encoder' else self.target_tokens
    panels = {
      name.replace('/', '\n', 1): self._relative(name)
      for name in self._of_stack(stack)
      if routers is None or name in routers
    }
    if not panels:
      raise UserError(
        f'No router of the {stack} read a token'
        + ('.' if stack == 'encoder' else ': give routing() a target.')
      )
    label = 'probability of an expert × number of experts'
    return heatmaps.figure(panels, tokens, 'expert', label)

  def plot(self, png: epath.PathLike, stack: str = 'encoder') -> None:
    """Writes what `figure` draws.

    Args:
      png: the file to write.
      stack: see there.

    Raises:
      UserError: see there.
    """
    epath.Path(png).write_bytes(_png(self.figure(stack)))

  def _repr_html_(self) -> str:
    """Shows the figures of both stacks in a notebook."""
    parts = []
    for stack in ('encoder', 'decoder'):
      names = self._of_stack(stack)
      if not names:
        continue
      shown = names[-_MOST_PANELS:]
      left = len(names) - len(shown)
      picture = base64.b64encode(_png(self.figure(stack, shown))).decode()
      what = (
        f'Routers of the {stack}: tokens as rows, experts as columns. White '
        '(1) is an expert that is neither preferred nor avoided.'
      )
      if left:
        what += (
          f' These are the last {len(shown)} of {len(names)} routers; '
          'figure(routers=[...]) draws others.'
        )
      parts.append(
        f'<figure><figcaption>{what}</figcaption><img style="max-width:100%" '
        f'alt="{what}" src="data:image/png;base64,{picture}"></figure>'
      )
    return ''.join(parts)

  def _of_stack(self, stack: str) -> list[str]:
    """The names of the routers that read the tokens of a stack's own text."""
    return [
      name
      for name in self.routers
      if name.startswith(f'{stack}/')
      and _reads_input(name) == (stack == 'encoder')
    ]

  def _relative(self, router: str) -> np.ndarray:
    """The probabilities of a router, times the number of its experts."""
    probabilities = self.routers[router].probabilities
    return probabilities.shape[1] * probabilities

  def _router(self, name: str) -> RoutedTokens:
    """Returns what a router makes of tokens.

    Raises:
      UserError: if there is no such router.
    """
    if name not in self.routers:
      raise UserError(
        f'There is no router {name!r}.{nearest(name, self.routers)} There is '
        f'{", ".join(self.routers)}.'
      )
    return self.routers[name]


def of_text(
  statistics: Tree, tokens: Sequence[str], target_tokens: Sequence[str] = ()
) -> TokenRouting:
  """Gathers what routers made of the first text of a batch.

  Args:
    statistics: what `models.routing_tokens` gave for the batch.
    tokens: the pieces of the input.
    target_tokens: the pieces of the target.
  """
  routers = {}
  for router, arrays in by_router(statistics).items():
    read = tokens if _reads_input(router) else target_tokens
    p, weights = (
      arrays[name][0, : len(read)] for name in ('probability', 'weight')
    )
    heads = tuple(range(1, p.ndim - 1))
    routers[router] = RoutedTokens(
      read, p.mean(heads), weights.mean(heads), p if heads else None
    )
  return TokenRouting(tokens, target_tokens, routers)


def _reads_input(router: str) -> bool:
  """Whether a router reads the tokens of the input, not those of the target."""
  return router.startswith('encoder/') or router.endswith(_READ_ENCODED)


def _png(figure: 'Figure') -> bytes:
  file = io.BytesIO()
  figure.savefig(file, format='png', dpi=120)
  return file.getvalue()
