"""Auxiliary losses of routers, computed from the statistics that routers sow.

The losses read only a router's sums over tokens without padding. They know
neither adapters nor networks. Each loss is a mean over tokens and over routers
(sites and layers), so a weight means the same for networks of any size.
"""

import dataclasses
import math
from collections.abc import Mapping

import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from moe_lite.core.errors import UserError
from moe_lite.core.types import Array, Tree

# The metrics of the losses. Each is the value of one loss without its weight.
METRICS = ('load_balance', 'router_z_loss', 'router_entropy')
# The statistics of one router by name. Those of a scanned stack of routers have
# a leading axis of layers.
Sums = Mapping[str, Array]


@dataclasses.dataclass(frozen=True)
class RouterLosses:
  """The weights of the losses. If all of them are 0, nothing is computed.

  Attributes:
    load_balance: the weight of `E * sum_e f_e P_e`. Here f_e is the share of
      tokens whose likeliest expert is e, and P_e is the mean probability of e.
      The loss is 1 if both are uniform, and E if one expert has everything. f
      has no gradient. Source: Switch Transformer, arXiv 2101.03961, equations 4
      to 6. For a soft router, f counts likeliest experts too. All of its
      experts take part in every mixture, so a loss that counted these would be
      constant.
    router_z_loss: the weight of the mean of `logsumexp(logits)**2`. This loss
      keeps logits small (ST-MoE, arXiv 2202.08906, equation 5).
    entropy_bonus: the weight of the entropy of a token's probabilities, in
      nats. It is subtracted from the loss, and keeps a token from giving all
      probability to a single expert.

  Raises:
    UserError: if a weight is negative or not a number.
  """

  load_balance: float = 0.0
  router_z_loss: float = 0.0
  entropy_bonus: float = 0.0

  def __post_init__(self):
    for field, weight in dataclasses.asdict(self).items():
      if not (isinstance(weight, int | float) and 0 <= weight < math.inf):
        raise UserError(
          f'{field.upper()} = {weight!r} must be a number of at least 0. 0 '
          'turns the loss off.'
        )

  def __bool__(self) -> bool:
    """Whether any loss is on."""
    return any(dataclasses.asdict(self).values())

  def needed(self, params: Tree, sums: Mapping[str, Sums]) -> dict[str, Sums]:
    """Selects what `__call__` must know of all parts of a batch.

    Args:
      params: the merged parameters.
      sums: from the path of each router to its statistics in one part.

    Returns:
      Some of the statistics, for the routers that learn. The values of all
      parts are to be added up.
    """
    names = ['tokens', *(['first'] if self.load_balance else [])]
    return {
      router: {name: of_router[name] for name in names}
      for router, of_router in self._learning(params, sums).items()
    }

  def __call__(
    self,
    params: Tree,
    sums: Mapping[str, Sums],
    whole: Mapping[str, Sums] | None = None,
  ) -> tuple[Array, dict[str, Array]]:
    """Computes the losses of a batch, or of a part of it.

    The losses of the parts of a batch add up to those of the batch. A load
    balance is not linear in the shares of tokens, so these are always the
    shares in the whole batch. Routers without parameters are left out.

    Args:
      params: the merged parameters.
      sums: from the path of each router to its statistics in the part:
        `probability` and `first` [..., E], and `square_logsumexp`, `entropy`
        and `tokens` [...].
      whole: what is `needed` of the whole batch; None if `sums` are those of
        the whole batch.

    Returns:
      The weighted sum of the losses, and the value of each without its weight.

    Raises:
      UserError: if no router learns.
    """
    values: dict[str, list[Array]] = {name: [] for name in METRICS}
    learning = self._learning(params, sums)
    whole = learning if whole is None else whole
    for router, part in learning.items():
      tokens = jnp.maximum(whole[router]['tokens'], 1.0)
      if self.load_balance:
        share = whole[router]['first'] / tokens[..., None]
        mean = part['probability'] / tokens[..., None]
        balance = mean.shape[-1] * jnp.sum(share * mean, -1)
        values['load_balance'].append(balance)
      if self.router_z_loss:
        values['router_z_loss'].append(part['square_logsumexp'] / tokens)
      if self.entropy_bonus:
        values['router_entropy'].append(part['entropy'] / tokens)
    means = {
      name: jnp.mean(jnp.concatenate([jnp.ravel(x) for x in of_routers]))
      for name, of_routers in values.items()
      if of_routers
    }
    weights = {
      'load_balance': self.load_balance,
      'router_z_loss': self.router_z_loss,
      'router_entropy': -self.entropy_bonus,
    }
    total = sum(weights[name] * value for name, value in means.items())
    return jnp.float32(total), means

  def _learning(
    self, params: Tree, sums: Mapping[str, Sums]
  ) -> dict[str, Sums]:
    """Returns the statistics of the routers that have parameters."""
    paths = flatten_dict(params, sep='/')
    learns = lambda router: any(p.startswith(f'{router}/') for p in paths)
    learning = {router: x for router, x in sums.items() if learns(router)}
    if not learning:
      weights = dataclasses.asdict(self).items()
      name, weight = next((name, x) for name, x in weights if x)
      raise no_routers(name.upper(), weight)
    return learning


def reported(sums: Mapping[str, Sums]) -> dict[str, Sums]:
  """Selects the statistics that routing metrics are computed from."""
  names = ('weight', 'entropy', 'tokens')
  names += ('task_weight', 'task_entropy', 'task_tokens')
  return {
    router: {name: of_router[name] for name in names if name in of_router}
    for router, of_router in sums.items()
  }


def no_routers(macro: str, value: object) -> UserError:
  """Returns the error of asking for something that only routers have.

  Args:
    macro: the gin macro that asks for it.
    value: the macro's value.
  """
  return UserError(
    f'{macro} = {value!r} is for routers that learn, and this method has none: '
    'leave it out, or train a method that routes, such as methods/mov.gin or '
    'methods/molora.gin.'
  )
