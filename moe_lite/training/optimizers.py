"""Optimizers and learning-rate schedules, on optax.

Parameters come in the network's form. Everything that is "per parameter" below
is per parameter of one layer, also where layers are stacked: a network that
scans trains as one that does not.
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

# Step number (0 for the first) to learning rate.
Schedule = optax.Schedule
# What gin's OPTIMIZER names: schedule to optimizer.
OptimizerFactory = Callable[[Schedule], optax.GradientTransformation]


def constant(learning_rate: float, warmup_steps: int = 0) -> Schedule:
  """A constant rate, reached linearly from 0 in `warmup_steps`."""
  _check(learning_rate, warmup_steps)
  return lambda step: learning_rate * _linear_warmup(step, warmup_steps)


def inverse_square_root(learning_rate: float, warmup_steps: int) -> Schedule:
  """`learning_rate / sqrt(max(step, warmup_steps))`.

  T5X's `rsqrt_decay`: constant during the first `warmup_steps`. The rate that
  applies there is `learning_rate / sqrt(warmup_steps)`, as T5 pretrains with
  1.0 and 10,000: 0.01.
  """
  _check(learning_rate, warmup_steps, 1)
  return lambda step: learning_rate * _rsqrt(step, warmup_steps)


def linear_warmup_inverse_square_root(
  learning_rate: float, warmup_steps: int
) -> Schedule:
  """`inverse_square_root`, reached linearly from 0 in `warmup_steps`.

  T5X's `linear_warmup * rsqrt_decay`.
  """
  _check(learning_rate, warmup_steps, 1)
  return lambda step: (
    learning_rate
    * _linear_warmup(step, warmup_steps)
    * _rsqrt(step, warmup_steps)
  )


def adafactor(
  schedule: Schedule,
  decay_rate: float = 0.8,
  clipping_threshold: float | None = 1.0,
  multiply_by_parameter_scale: bool = True,
  min_dim_size_to_factor: int = 128,
) -> optax.GradientTransformation:
  """Adafactor as T5X runs it.

  Each update is scaled by its parameter's RMS, at least 1e-3 (so that LoRA's
  zero B moves), and clipped to an RMS of 1 before that.

  Moments of a base's matrices are factored, which saves memory in full
  fine-tuning. Adapters' moments are not: T5X decides that by logical axes and
  the paper's rules exempt `expert` and `rank`; here their path decides, which
  also exempts routers and plain vectors, and costs a few MB at most.

  Args:
    schedule: of the learning rate.
    decay_rate: the second moments decay by `1 - (step + 1) ** -decay_rate`.
    clipping_threshold: largest RMS of an update; None clips nothing.
    multiply_by_parameter_scale: False makes the learning rate absolute.
    min_dim_size_to_factor: matrices with a smaller side are not factored.
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
  """AdamW, after clipping gradients to a global norm.

  Args:
    schedule: of the learning rate.
    b1: decay of the first moments.
    b2: decay of the second moments.
    eps: added to the root of the second moment.
    weight_decay: times the learning rate.
    clipping_threshold: largest global norm of the gradients; None for any.
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
  """Applies what acts on each leaf by itself to each layer of a stacked leaf.

  Args:
    transformation: whose state is a tuple of scalars, shared by all leaves, and
      of trees shaped like the parameters.
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
  """Path to leaf; without those that `optax.partition` gives to others."""
  return {
    path: leaf
    for path, leaf in parameters.flatten(tree).items()
    if not isinstance(leaf, optax.MaskedNode)
  }


def _state_axes(state: Any) -> Any:
  """Where a stack's axis goes in the state of a layer: nowhere in scalars."""
  return jax.tree.map(lambda x: min(1, x.ndim) if x.ndim else None, state)


def _of_leaf(state: Any, path: str) -> Any:
  """The part of a state that is of one leaf."""
  parts = (
    {path: part[path]} if isinstance(part, dict) else part for part in state
  )
  return type(state)(*parts)


def _joined(states: Sequence[Any]) -> Any:
  """The inverse of `_of_leaf` for all leaves."""
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
