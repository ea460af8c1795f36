"""Optimizers and learning-rate schedules, made with optax.

Parameters come in the network's form, so layers may be stacked. What happens
below for each parameter happens for each layer of a stacked parameter by
itself. A network that scans over its layers thus trains like one that does not.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.core.types import Array, Tree

Schedule = optax.Schedule
"""A schedule maps the number of a step, from 0, to a learning rate."""
OptimizerFactory = Callable[[Schedule], optax.GradientTransformation]
"""Makes an optimizer of a schedule. The macro OPTIMIZER names one."""


def constant(learning_rate: float, warmup_steps: int = 0) -> Schedule:
  """Returns a constant schedule after a linear warm-up from 0.

  Args:
    learning_rate: the constant rate.
    warmup_steps: how many steps the warm-up takes.
  """
  _check(learning_rate, warmup_steps)
  return lambda step: learning_rate * _linear_warmup(step, warmup_steps)


def inverse_square_root(learning_rate: float, warmup_steps: int) -> Schedule:
  """Returns the schedule `learning_rate / sqrt(max(step, warmup_steps))`.

  This is T5X's `rsqrt_decay`. The rate is constant during the first
  `warmup_steps`, where it is `learning_rate / sqrt(warmup_steps)`. T5 was
  pretrained with 1.0 and 10,000 steps, so its rate began at 0.01.

  Args:
    learning_rate: the factor.
    warmup_steps: how many steps the rate stays constant; at least 1.
  """
  _check(learning_rate, warmup_steps, 1)
  return lambda step: learning_rate * _rsqrt(step, warmup_steps)


def linear_warmup_inverse_square_root(
  learning_rate: float, warmup_steps: int
) -> Schedule:
  """Returns `inverse_square_root` after a linear warm-up from 0.

  This is T5X's `linear_warmup * rsqrt_decay`.

  Args:
    learning_rate: the factor; see `inverse_square_root`.
    warmup_steps: how many steps the warm-up takes; at least 1.
  """
  _check(learning_rate, warmup_steps, 1)
  return lambda step: (
    learning_rate
    * _linear_warmup(step, warmup_steps)
    * _rsqrt(step, warmup_steps)
  )


def linear_decay(
  learning_rate: float, warmup_steps: int, train_steps: int
) -> Schedule:
  """Returns a linear warm-up from 0, and then a linear decay to 0.

  Source: T-Few's schedule, arXiv 2205.05638, section 3.3.

  Args:
    learning_rate: the rate at the end of the warm-up.
    warmup_steps: how many steps the warm-up takes.
    train_steps: the step at which the rate is 0 again.

  Raises:
    UserError: if the warm-up takes all steps.
  """
  _check(learning_rate, warmup_steps)
  if warmup_steps >= train_steps:
    raise UserError(
      f'WARMUP_STEPS = {warmup_steps} must be less than TRAIN_STEPS = '
      f'{train_steps}, because the rate falls after the warm-up.'
    )

  def schedule(step: ArrayLike) -> Array:
    left = (train_steps - step) / (train_steps - warmup_steps)
    decay = jnp.clip(left, 0.0, 1.0)
    return learning_rate * decay * _linear_warmup(step, warmup_steps)

  return schedule


def adafactor(
  schedule: Schedule,
  decay_rate: float = 0.8,
  clipping_threshold: float | None = 1.0,
  multiply_by_parameter_scale: bool = True,
  min_dim_size_to_factor: int = 128,
) -> optax.GradientTransformation:
  """Returns Adafactor as T5X runs it.

  Each update is clipped to an RMS of 1. It is then scaled by the RMS of its
  parameter, or by 1e-3 if that is less, so that LoRA's B moves although it
  begins at zero.

  The second moments of a base's matrices are factored, which saves memory in
  full fine-tuning. Those of adapters are not. T5X decides this by logical axes,
  and the rules of the paper exempt `expert` and `rank`. Here the path of a
  parameter decides. This also exempts routers and plain vectors, and costs a
  few MB at most.

  Args:
    schedule: the schedule of the learning rate.
    decay_rate: the second moments decay by `1 - (step + 1) ** -decay_rate`.
    clipping_threshold: the largest RMS of an update. None clips nothing.
    multiply_by_parameter_scale: whether to scale updates by the RMS of their
      parameter. If not, the learning rate is absolute.
    min_dim_size_to_factor: a matrix is not factored if one of its sides is
      smaller than this.
  """

  def moments(factored: bool) -> optax.GradientTransformation:
    return per_layer(
      optax.scale_by_factored_rms(
        factored=factored,
        decay_rate=decay_rate,
        min_dim_size_to_factor=min_dim_size_to_factor,
      )
    )

  parts: list[optax.GradientTransformation] = [
    optax.partition(
      {'base': moments(True), 'adapter': moments(False)}, _base_or_adapter
    )
  ]
  if clipping_threshold is not None:
    parts.append(per_layer(optax.clip_by_block_rms(clipping_threshold)))
  if multiply_by_parameter_scale:
    parts.append(per_layer(optax.scale_by_param_block_rms(min_scale=1e-3)))
  parts.append(optax.scale_by_learning_rate(schedule))
  return optax.chain(*parts)


def adamw(
  schedule: Schedule,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
  weight_decay: float = 0.0,
  clipping_threshold: float | None = 1.0,
) -> optax.GradientTransformation:
  """Returns AdamW on gradients that are clipped to a global norm.

  Args:
    schedule: the schedule of the learning rate.
    b1: the decay of the first moments.
    b2: the decay of the second moments.
    eps: what is added to the root of the second moment.
    weight_decay: the decay of the parameters. It is multiplied by the learning
      rate.
    clipping_threshold: the largest global norm of the gradients. None clips
      nothing.
  """
  parts = []
  if clipping_threshold is not None:
    parts.append(optax.clip_by_global_norm(clipping_threshold))
  parts.append(
    optax.adamw(schedule, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay)
  )
  return optax.chain(*parts)


def per_layer(
  transformation: optax.GradientTransformation,
) -> optax.GradientTransformation:
  """Applies a transformation to each layer of a stacked leaf by itself.

  Args:
    transformation: a transformation that treats each leaf by itself. Its state
      must be a tuple of scalars, which all leaves share, and of trees in the
      shape of the parameters.
  """

  def init(params: Any) -> Any:
    states = []
    for path, leaf in _leaves(params).items():
      one = lambda x, path=path: transformation.init({path: x})
      axis = parameters.layer_axis(path, leaf.ndim)
      if axis is None:
        states.append(one(leaf))
        continue
      layer = jax.eval_shape(lambda x, axis=axis: jnp.take(x, 0, axis), leaf)
      out = _state_axes(jax.eval_shape(one, layer))
      states.append(jax.vmap(one, axis, out)(leaf))
    return _joined(states) if states else transformation.init({})

  def update(updates: Any, state: Any, params: Any = None) -> Any:
    values = _leaves(params) if params is not None else {}
    done, states = {}, []
    for path, leaf in _leaves(updates).items():

      def one(x: Array, s: Any, p: Any, path: str = path) -> Any:
        given = None if p is None else {path: p}
        new: Any
        new, s = transformation.update({path: x}, s, given)
        return new[path], s

      own = _of_leaf(state, path)
      axis = parameters.layer_axis(path, leaf.ndim)
      if axis is not None:
        axes = jax.tree.map(
          lambda x, path=path: (
            parameters.layer_axis(path, x.ndim) if x.ndim else None
          ),
          own,
        )
        one = jax.vmap(
          one, (axis, axes, None if params is None else axis), (axis, axes)
        )
      done[path], new = one(leaf, own, values.get(path))
      states.append(new)
    if not states:
      return updates, state
    return (
      parameters.unflatten({**parameters.flatten(updates), **done}),
      _joined(states),
    )

  return optax.GradientTransformation(init, update)


def _leaves(tree: Tree) -> dict[str, Any]:
  """Returns the leaves of a tree by path.

  Leaves that `optax.partition` gives to another transformation are left out.
  """
  return {
    path: leaf
    for path, leaf in parameters.flatten(tree).items()
    if not isinstance(leaf, optax.MaskedNode)
  }


def _state_axes(state: Any) -> Any:
  """Returns the axis of the layers in each leaf of a state.

  Scalars have no such axis, because all layers share them.

  Args:
    state: the state of one layer, as shapes.
  """
  return jax.tree.map(lambda x: min(1, x.ndim) if x.ndim else None, state)


def _of_leaf(state: Any, path: str) -> Any:
  """Returns the part of a state that belongs to one leaf."""
  parts = (
    {path: part[path]} if isinstance(part, dict) else part for part in state
  )
  return type(state)(*parts)


def _joined(states: Sequence[Any]) -> Any:
  """Joins the states of all leaves to one; undoes `_of_leaf`."""
  parts = (
    {path: leaf for part in of_all for path, leaf in part.items()}
    if isinstance(of_all[0], dict)
    else of_all[0]
    for of_all in zip(*states, strict=True)
  )
  return type(states[0])(*parts)


def _base_or_adapter(params: Tree) -> Tree:
  """Labels every leaf 'adapter' or 'base' by its path."""
  return parameters.unflatten(
    {
      path: 'adapter' if parameters.is_adapter(path) else 'base'
      for path in parameters.flatten(params)
    }
  )


def _linear_warmup(step: ArrayLike, warmup_steps: int) -> Array:
  if not warmup_steps:
    return jnp.float32(1.0)
  return jnp.minimum(1.0, step / warmup_steps)


def _rsqrt(step: ArrayLike, warmup_steps: int) -> Array:
  return jax.lax.rsqrt(jnp.maximum(jnp.float32(step), warmup_steps))


def _check(learning_rate: float, warmup_steps: int, least: int = 0) -> None:
  if not learning_rate > 0:
    raise UserError(f'LEARNING_RATE = {learning_rate} must be positive.')
  if warmup_steps < least:
    raise UserError(
      f'WARMUP_STEPS = {warmup_steps} must be at least {least} for this '
      'schedule.'
    )
