"""What routers make of the tokens of one text."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from moe_lite.core.errors import UserError, nearest
from moe_lite.core.tables import table
from moe_lite.core.types import Tree
from moe_lite.routing.statistics import by_router

# These sites of the decoder read what the encoder wrote.
_READ_ENCODED = tuple(
  f'encoder_decoder_attention/{site}' for site in ('key', 'value')
)


@dataclasses.dataclass(frozen=True)
class RoutedTokens:
  """What one router makes of N tokens.

  Attributes:
    tokens: N pieces of text.
    probabilities: [N, E], averaged over heads, as in the routing report.
    weights: [N, E], with which experts are mixed: of a top-k router, 0 for
      those that it leaves out.
    by_head: probabilities [N, H, E] of a router that routes heads apart; else
      None.
  """

  tokens: Sequence[str]
  probabilities: np.ndarray
  weights: np.ndarray
  by_head: np.ndarray | None


@dataclasses.dataclass(frozen=True, repr=False)
class TokenRouting:
  """What all routers make of an input, and of a target if one is given.

  Attributes:
    tokens: pieces of the input.
    target_tokens: pieces of the target, EOS at their end; [] without one.
    routers: by name, such as 'encoder/layers_0/attention/key'; without a
      target, those of the encoder.
  """

  tokens: Sequence[str]
  target_tokens: Sequence[str]
  routers: Mapping[str, RoutedTokens]

  def __repr__(self) -> str:
    """Every router's mean over the tokens; `table` has them one by one."""
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
    """One router's probabilities, a row a token, as Markdown."""
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
    """Draws the routers of the 'encoder' or the 'decoder', tokens as rows.

    Of the decoder those are drawn that read the target.
    """
    tokens = self.tokens if stack == 'encoder' else self.target_tokens
    panels = {
      name.replace('/', '\n', 1): len(routed.probabilities[0])
      * routed.probabilities
      for name, routed in self.routers.items()
      if name.startswith(f'{stack}/') and routed.tokens is tokens
    }
    if not panels:
      raise UserError(
        f'No router of the {stack} read a token'
        + ('.' if stack == 'encoder' else ': give routing() a target.')
      )
    heatmaps(
      panels, tokens, 'expert', 'probability, times the number of experts', png
    )


def of_text(
  statistics: Tree, tokens: Sequence[str], target_tokens: Sequence[str] = ()
) -> TokenRouting:
  """Routers by name.

  Args:
    statistics: what `models.routing_tokens` gave; the text is its first row.
    tokens: of the input.
    target_tokens: of the target.
  """
  routers = {}
  for router, arrays in by_router(statistics).items():
    is_input = router.startswith('encoder/') or router.endswith(_READ_ENCODED)
    read = tokens if is_input else target_tokens
    p, weights = (
      arrays[name][0, : len(read)] for name in ('probability', 'weight')
    )
    heads = tuple(range(1, p.ndim - 1))
    routers[router] = RoutedTokens(
      read, p.mean(heads), weights.mean(heads), p if heads else None
    )
  return TokenRouting(tokens, target_tokens, routers)


def heatmaps(
  panels: Mapping[str, np.ndarray],
  rows: Sequence[str],
  columns: str,
  label: str,
  png: epath.PathLike,
  scale: tuple[float, float, float] = (0.0, 1.0, 2.0),
) -> None:
  """Draws one heat map a panel, all on one scale.

  Args:
    panels: title to values [rows, columns].
    rows: their names, from top to bottom.
    columns: what the columns are.
    label: what the values are.
    png: to write.
    scale: the least value, that which is white, and the most, unless there are
      larger ones.
  """
  from matplotlib.colors import TwoSlopeNorm
  from matplotlib.figure import Figure

  across = min(4, len(panels))
  down = math.ceil(len(panels) / across)
  size = (2.2 + 2.4 * across, down * (1.1 + 0.18 * len(rows)))
  figure = Figure(figsize=size, layout='constrained')
  grid = figure.subplots(down, across, squeeze=False, sharey=True)
  least, white, most = scale
  # Each side is stretched by itself, as values may reach far above white.
  most = max(most, *(float(values.max()) for values in panels.values()))
  norm = TwoSlopeNorm(white, vmin=least, vmax=most)
  images = []
  for axes in grid.flat[len(panels) :]:
    axes.set_axis_off()
  for axes, (title, values) in zip(grid.flat, panels.items(), strict=False):
    images.append(axes.imshow(values, cmap='RdBu_r', norm=norm, aspect='auto'))
    axes.set_title(title, fontsize=7)
    axes.set_xlabel(columns, fontsize=7)
    count = values.shape[1]
    axes.set_xticks(range(0, count, math.ceil(count / 10)))
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(labelsize=6)
  figure.colorbar(images[-1], ax=grid, label=label, shrink=0.6)
  with epath.Path(png).open('wb') as file:
    figure.savefig(file, format='png', dpi=120)
