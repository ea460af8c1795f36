"""What routers make of the tokens of one text."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from moe_lite.core.errors import UserError, nearest
from moe_lite.core.tables import table
from moe_lite.core.types import Tree
from moe_lite.inference import heatmaps
from moe_lite.routing.statistics import by_router

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
    if router not in self.routers:
      raise UserError(
        f'There is no router {router!r}.{nearest(router, self.routers)} There '
        f'is {", ".join(self.routers)}.'
      )
    routed = self.routers[router]
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

  def plot(self, png: epath.PathLike, stack: str = 'encoder') -> None:
    """Draws the probabilities of a stack's routers, with tokens as rows.

    Args:
      png: the file to write.
      stack: 'encoder', or 'decoder' for those of its routers that read the
        target.

    Raises:
      UserError: if no router of the stack read a token.
    """
    tokens = self.tokens if stack == 'encoder' else self.target_tokens
    panels = {
      name.replace('/', '\n', 1): len(routed.probabilities[0])
      * routed.probabilities
      for name, routed in self.routers.items()
      if name.startswith(f'{stack}/')
      and _reads_input(name) == (stack == 'encoder')
    }
    if not panels:
      raise UserError(
        f'No router of the {stack} read a token'
        + ('.' if stack == 'encoder' else ': give routing() a target.')
      )
    label = 'probability, times the number of experts'
    heatmaps.draw(panels, tokens, 'expert', label, png)


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
