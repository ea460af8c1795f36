"""Routers that decide by the task of a token, and not by what it says."""

import jax
import jax.numpy as jnp

from moe_lite.core import partitioning
from moe_lite.core.errors import UserError
from moe_lite.core.types import Array, Initializer
from moe_lite.routing.context import Context
from moe_lite.routing.router import NEVER, BaseRouter, is_whole


class TaskRouter(BaseRouter):
  """Gives every task an expert of its own: `p = one_hot(task)`.

  Expert e belongs to the task with number e + 1. All experts of a mixture of
  tasks then train at once, each on the rows of its own task, and each of them
  trains as it would alone. When the data do not say the task, this is an
  oracle: an upper bound for routers that have to find the expert by themselves.
  """

  is_one_hot = True

  @property
  def needs(self) -> frozenset[str]:
    return frozenset({'task'})

  @property
  def num_tasks(self) -> int:
    return self.num_experts

  def logits(self, x: Array, axis: str, context: Context) -> Array:
    return of_task(self._given(context, 'task'), self.num_experts)


class PolyRouter(BaseRouter):
  """Learns for every task which of a few shared experts it uses.

  Poly has `p = sigmoid(Z[task]) / sum_e sigmoid(Z[task])`. MHR cuts the
  features into S splits, and each of them has weights of its own. In both, the
  matrices `a` and `b` are averaged apart: bind `adapters.MoLoRA.averages`.

  Source: Ponti et al., arXiv 2202.13914, section 3 (Poly); Caccia et al., arXiv
  2211.03831, section 3.1 (MHR).

  Leaves:
    * `skills`: [T, S, E], the logits Z of T tasks.

  Attributes:
    tasks: the number of tasks, T.
    splits: the number of splits, S.
    skills_init: draws the initial logits.
  """

  tasks: int = 1
  splits: int = 1
  skills_init: Initializer = jax.nn.initializers.normal(0.01)

  def __post_init__(self):
    for macro, value in {
      'NUM_TASKS': self.tasks,
      'SPLITS': self.splits,
    }.items():
      if not (is_whole(value) and value >= 1):
        raise UserError(
          f'{macro} = {value!r} must be a whole number from 1 on.'
        )
    super().__post_init__()

  @property
  def needs(self) -> frozenset[str]:
    return frozenset({'task'})

  @property
  def num_tasks(self) -> int:
    return self.tasks

  def logits(self, x: Array, axis: str, context: Context) -> Array:
    skills = partitioning.param(
      self,
      'skills',
      self.skills_init,
      (self.tasks, self.splits, self.num_experts),
      jnp.float32,
      ('task', 'split', 'expert'),
    )
    task = self._given(context, 'task')
    # Softmax makes of the logarithms of sigmoids what the paper divides.
    logits = jax.nn.log_sigmoid(skills)[jnp.maximum(task - 1, 0)]
    return logits if self.splits > 1 else logits[:, :, 0]


def of_task(task: Array, num_experts: int) -> Array:
  """Returns logits that choose the expert of a task, float32 [..., E].

  Args:
    task: the numbers of tasks, from 1 on. At 0 all experts are alike.
    num_experts: the number of experts, E.
  """
  is_chosen = jax.nn.one_hot(task - 1, num_experts, dtype=bool)
  return jnp.where(is_chosen, 0.0, NEVER)
