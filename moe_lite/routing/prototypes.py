"""Routers that find the experts of a token by a prototype of each expert.

They are for experts that were trained apart, and need no training of their own,
or almost none. A prototype is a leaf beside the experts. It is computed from
them when a mixture begins from experts that have none.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from moe_lite.core import partitioning
from moe_lite.core.errors import UserError
from moe_lite.core.matmuls import narrow
from moe_lite.core.types import Array, Initializer
from moe_lite.routing.context import Context
from moe_lite.routing.learned import (
  check_temperature,
  select_top_k,
  standardised,
)
from moe_lite.routing.router import BaseRouter, is_whole
from moe_lite.routing.tasks import of_task

# The leaf of PHATGOOSE's gates, which its two routers share.
_GATES = 'gates'


class PrototypeRouter(BaseRouter):
  """Mixes the k experts whose prototypes suit what the token reads.

  Attributes:
    k: the number of experts that a token keeps. None keeps all of them.
    temperature: divides the scores of the experts.
    prototype_init: draws prototypes that are not computed.
  """

  k: int | None = None
  temperature: float = 1.0
  prototype_init: Initializer = jax.nn.initializers.normal(0.02)

  for_pairs = True

  def __post_init__(self):
    check_temperature(self.temperature)
    if self.k is not None and not (
      is_whole(self.k) and 1 <= self.k <= self.num_experts
    ):
      raise UserError(
        f'TOP_K = {self.k!r} must be a whole number from 1 to NUM_EXPERTS = '
        f'{self.num_experts}, or None to keep all experts.'
      )
    super().__post_init__()

  def scores(self, x: Array, axis: str) -> Array:
    """Returns how well each expert suits a token, float32 [B, L, E]."""
    raise NotImplementedError

  def logits(self, x: Array, axis: str, context: Context) -> Array:
    return self.scores(x, axis) / self.temperature

  def select(self, probabilities: Array) -> Array:
    if self.k is None:
      return probabilities
    return select_top_k(probabilities, self.k)


class ArrowRouter(PrototypeRouter):
  """Scores an expert by the direction that it amplifies most: `|x u_e|`.

  The prototype `u_e` is the first right singular vector of the expert's update,
  that is, the direction of inputs to which `a_e b_e` answers most strongly. It
  is computed by an exact singular value decomposition.

  Source: Ostapenko et al., arXiv 2405.11157, section 4.

  Leaves:
    * `prototypes`: [E, in].
  """

  prototypes = ('prototypes',)

  def scores(self, x: Array, axis: str) -> Array:
    prototypes = partitioning.param(
      self,
      'prototypes',
      self.prototype_init,
      (self.num_experts, x.shape[-1]),
      jnp.float32,
      ('expert', axis),
    )
    return jnp.abs(narrow(x, prototypes.T.astype(x.dtype), jnp.float32))

  def derived(self, experts: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {'prototypes': directions(experts['a'], experts['b'])}


class SpectrRouter(PrototypeRouter):
  """Scores an expert by how much it changes the token: `||x a_e b_e||`.

  With the Gram matrix of `b_e`, this is the length of a vector of R numbers.

  Source: Fleshman and Van Durme, arXiv 2504.03454, section 3.

  Leaves:
    * `projections`: [E, in, R], such that `x a_e b_e` is as long as
      `x projections_e`.

  Attributes:
    rank: the rank of the experts, R.
  """

  rank: int = 4

  prototypes = ('projections',)

  def scores(self, x: Array, axis: str) -> Array:
    E, R = self.num_experts, self.rank
    projections = partitioning.param(
      self,
      'projections',
      self.prototype_init,
      (E, x.shape[-1], R),
      jnp.float32,
      ('expert', axis, 'rank'),
    )
    columns = projections.swapaxes(0, 1).reshape(x.shape[-1], E * R)
    y = narrow(x, columns.astype(x.dtype), jnp.float32)
    squares = jnp.square(y).reshape(*y.shape[:-1], E, R).sum(-1)
    # The root's slope is infinite at zero, where padding is.
    return jnp.sqrt(squares + 1e-12)

  def derived(self, experts: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    a, b = (experts[x].astype(np.float64) for x in 'ab')
    _, lengths, rows = np.linalg.svd(b, full_matrices=False)
    # b = left * lengths * rows, where rows are orthonormal.
    root = b @ rows.swapaxes(1, 2)
    missing = a.shape[2] - root.shape[2]  # Where R is larger than `out`.
    root = np.pad(root, ((0, 0), (0, 0), (0, missing)))
    return {'projections': (a @ root).astype(np.float32)}


class GateRouter(BaseRouter):
  """PHATGOOSE's gates, while they train: `p_e = sigmoid(x v_e)`.

  The experts stay as they are (TRAINABLE = '.*router/.*'). With a TASK_IDS, a
  token uses the expert of its task alone, so that all gates train at once, each
  on its own rows. Afterwards `PhatgooseRouter` takes the gates.

  Source: Muqeeth et al., arXiv 2402.05859, section 3.

  Leaves:
    * `gates`: [E, in], zero at first.

  Attributes:
    by_task: whether a token uses the expert of its task alone. With a single
      expert there is nothing to choose.
  """

  by_task: bool = True

  normalized = False
  for_pairs = True

  @property
  def needs(self) -> frozenset[str]:
    return frozenset({'task'} if self.by_task else ())

  @property
  def num_tasks(self) -> int | None:
    return self.num_experts if self.by_task else None

  def logits(self, x: Array, axis: str, context: Context) -> Array:
    gates = partitioning.param(
      self,
      _GATES,
      jax.nn.initializers.zeros,
      (self.num_experts, x.shape[-1]),
      jnp.float32,
      ('expert', axis),
    )
    logits = narrow(x, gates.T.astype(x.dtype), jnp.float32)
    if not self.by_task:
      return logits
    return logits + of_task(self._given(context, 'task'), self.num_experts)

  def weigh(self, logits: Array, probabilities: Array) -> Array:
    del probabilities
    return jax.nn.sigmoid(logits)


class PhatgooseRouter(PrototypeRouter):
  """Scores an expert by its gate: `s_e = LN(x) LN(v_e) / sqrt(in)`.

  Both are standardised over their features, without learned scales.

  Source: Muqeeth et al., arXiv 2402.05859, section 3.

  Leaves:
    * `gates`: [E, in], which `GateRouter` trained.
  """

  prototypes = (_GATES,)

  def scores(self, x: Array, axis: str) -> Array:
    gates = partitioning.param(
      self,
      _GATES,
      self.prototype_init,
      (self.num_experts, x.shape[-1]),
      jnp.float32,
      ('expert', axis),
    )
    size = x.shape[-1]
    standard = standardised(gates).T.astype(x.dtype)
    return narrow(standardised(x), standard, jnp.float32) / np.sqrt(size)

  def derived(self, experts: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    raise UserError(
      'PHATGOOSE routes by gates that are trained after the experts, and these '
      'experts have none. First train their gates: begin a run with '
      'INITIAL_ADAPTERS, routers/gates.gin and TRAINABLE = ".*router/.*".'
    )


def directions(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Returns the inputs to which updates answer most strongly, [E, in].

  Args:
    a: [E, in, R].
    b: [E, R, out].

  Returns:
    For each expert the first left singular vector of `a_e b_e`, of length one
    and of any sign. It is zero where the update is zero.
  """
  found = np.zeros(a.shape[:2], np.float32)
  for e, (down, up) in enumerate(
    zip(a.astype(np.float64), b.astype(np.float64), strict=True)
  ):
    # The matrix itself is never built: its factors are reduced to R x R first.
    q, r = np.linalg.qr(down)
    left, lengths, _ = np.linalg.svd(r @ up, full_matrices=False)
    if lengths[0] > 0:
      found[e] = q @ left[:, 0]
  return found
