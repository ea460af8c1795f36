"""One training step: gradients of what trains, on a base that never moves.

The base is a separate argument of the compiled step and none of its outputs:
no gradient, optimizer slot or copy of it exists. What trains is held in float32
in the network's form; a step of a scanning network is as large a program for 48
layers as for two. On disk layers are apart (see `checkpoints.own`).
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import optax
from flax import struct

from moe_lite.core import parameters, partitioning
from moe_lite.core.features import (
  DECODER_INPUTS,
  DECODER_TARGETS,
  ENCODER_INPUTS,
)
from moe_lite.core.types import Array, Batch, Metrics, Shape, Tree
from moe_lite.models.layout import Layout
from moe_lite.models.metrics import Reduction
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.training.optimizers import Schedule

T = TypeVar('T')
Step = Callable[['TrainState', Tree, Batch], tuple['TrainState', Metrics]]

# How the metrics that a step adds to those of its loss are one over several.
REDUCTIONS = {
  'normalizer': Reduction.SUM,
  'nonpadding': Reduction.SUM,
  'grad_norm': Reduction.MEAN,
  'update_norm': Reduction.MEAN,
  'learning_rate': Reduction.MEAN,
}


class TrainState(struct.PyTreeNode):
  """All that a step changes; arrays, or their shapes.

  Attributes:
    step: int32, how many steps are done.
    trainable: float32, in the network's form.
    optimizer: optax's state.
    rng: key data; dropout and routers draw from it folded with the step.
  """

  step: Any
  trainable: Tree
  optimizer: Any
  rng: Any


def abstract_state(
  optimizer: optax.GradientTransformation, trainable: str, where: Layout
) -> TrainState:
  """Shapes, dtypes and places of the state."""
  values = where.trainable_shapes(trainable)
  slots = where.like_trainable(jax.eval_shape(optimizer.init, values))
  rng = jax.eval_shape(jax.random.key_data, jax.random.key(0))
  return TrainState(
    step=where.whole((), jnp.int32),
    trainable=values,
    optimizer=slots,
    rng=where.whole(rng.shape, rng.dtype),
  )


def init_state(
  model: EncoderDecoderModel,
  optimizer: optax.GradientTransformation,
  abstract: TrainState,
  seed: int,
  loaded: Tree | None = None,
) -> TrainState:
  """The state before the first step.

  Args:
    model: the model.
    optimizer: the optimizer.
    abstract: from `abstract_state`.
    seed: of everything random in the run but the data.
    loaded: what replaces initial values: what trains of a base.
  """
  init_rng, rng = jax.random.split(jax.random.key(seed))
  trainable = parameters.flatten(abstract.trainable)

  def draw(key: Array) -> Tree:
    shapes: Mapping[str, Shape] = dict.fromkeys(
      (ENCODER_INPUTS, DECODER_INPUTS), (1, 8)
    )
    params = model.get_initial_variables(key, shapes)['params']
    # The compiler drops the drawing of what is not returned: the base.
    drawn = parameters.flatten(params)
    return parameters.cast(
      parameters.unflatten({path: drawn[path] for path in trainable}),
      jnp.float32,
    )

  shardings = jax.tree.map(lambda x: x.format, abstract)
  values = jax.jit(draw, out_shardings=shardings.trainable)(init_rng)
  if loaded:
    values = jax.device_put(
      parameters.merge(loaded, values), shardings.trainable
    )
  return TrainState(
    step=jax.device_put(jnp.int32(0), shardings.step),
    trainable=values,
    optimizer=jax.jit(optimizer.init, out_shardings=shardings.optimizer)(
      values
    ),
    rng=jax.device_put(jax.random.key_data(rng), shardings.rng),
  )


def make_step(
  model: EncoderDecoderModel,
  optimizer: optax.GradientTransformation,
  schedule: Schedule,
  microbatches: int = 1,
  shards: int = 1,
) -> Step:
  """Returns the step function, to be compiled with its state donated.

  Args:
    model: the model.
    optimizer: updates what trains.
    schedule: of the learning rate, to report it.
    microbatches: a batch is worked through in so many parts. They share the
      whole batch's loss normalizer, so that their gradients add up to its.
    shards: of a microbatch, whose gradients are added up apart, and together
      only after the last one. With as many as the mesh's data axis has, they
      cross the network once a step. Every device then holds all gradients.
  """

  def over_parts(of_rows: Callable[[Batch, Array], T], batch: Batch) -> T:
    """The sum of what `of_rows` gives for every part and its number."""
    if microbatches == 1:
      return of_rows(batch, jnp.int32(0))

    def of_shards(rows: Batch, part: Array) -> T:
      """`of_rows` of every shard, on a leading axis."""
      numbers = part * shards + jnp.arange(shards)
      with partitioning.within_shard():
        return jax.vmap(of_rows, spmd_axis_name='data')(rows, numbers)

    parts = (_cut(batch, microbatches, shards), jnp.arange(microbatches))
    of_part = of_rows if shards == 1 else of_shards

    def add(total: Any, part: Any) -> tuple[Any, None]:
      return jax.tree.map(jnp.add, total, of_part(*part)), None

    first = jax.tree.map(lambda x: x[0], parts)
    shapes = jax.eval_shape(lambda part: of_part(*part), first)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    if shards > 1:
      zeros = jax.tree.map(partitioning.split_first, zeros)
    totals, _ = jax.lax.scan(add, zeros, parts)
    if shards > 1:
      totals = jax.tree.map(lambda x: x.sum(0), totals)
    return totals

  def step(
    state: TrainState, base: Tree, batch: Batch
  ) -> tuple[TrainState, Metrics]:
    normalizer = model.loss_normalizer(batch)

    def streams(part: Array) -> dict[str, Array]:
      rng = jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)
      dropout, router = jax.random.split(jax.random.fold_in(rng, part))
      return {'dropout': dropout, 'router': router}

    def routing(rows: Batch, part: Array) -> Tree:
      params = parameters.merge(state.trainable, base)
      return model.routing_needed(params, rows, streams(part))

    # A whole batch's routing, before any of its parts has a gradient. Without
    # a load balance the compiler drops all of it but the counts of tokens.
    is_apart = microbatches > 1 and model.router_losses
    routed = over_parts(routing, batch) if is_apart else None

    def gradients(rows: Batch, part: Array) -> tuple[Tree, Metrics]:
      rngs = streams(part)

      def loss(trainable: Tree) -> tuple[Array, Metrics]:
        params = parameters.merge(trainable, base)
        return model.loss_fn(params, rows, rngs, normalizer, routed)

      return jax.grad(loss, has_aux=True)(state.trainable)

    grads, sums = over_parts(gradients, batch)
    updates, optimizer_state = optimizer.update(
      grads, state.optimizer, state.trainable
    )
    metrics = {
      **sums,
      'normalizer': normalizer,
      'grad_norm': _norm(grads),
      'update_norm': _norm(updates),
      'learning_rate': jnp.float32(schedule(state.step)),
      'nonpadding': _count_tokens(batch),
    }
    new_state = state.replace(
      step=state.step + 1,
      trainable=optax.apply_updates(state.trainable, updates),
      optimizer=optimizer_state,
    )
    return new_state, metrics

  return step


def compile_step(
  step: Step, state: TrainState, base: Tree, batch: Batch, where: Layout
) -> Any:
  """Compiles a step for the shapes and places of its arguments."""
  out = jax.tree.map(lambda x: x.format, state), where.replicated
  with partitioning.axis_rules(where.mesh):
    jitted = jax.jit(step, donate_argnums=0, out_shardings=out)
    return jitted.lower(state, base, batch).compile()


def _norm(tree: optax.Updates) -> Array:
  """The Euclidean norm of all leaves together."""
  return jnp.sqrt(sum(jnp.sum(jnp.square(x)) for x in jax.tree.leaves(tree)))


def _cut(batch: Batch, parts: int, shards: int) -> Batch:
  """[B, L] to [parts, B / parts, L]; every device cuts its own rows.

  With several shards, to [parts, shards, B / parts / shards, L].
  """

  def cut(x: Array) -> Array:
    rows = x.reshape(-1, parts, x.shape[-1]).swapaxes(0, 1)
    if shards == 1:
      return partitioning.constrain(rows, (None, 'batch', 'length'))
    rows = rows.reshape(parts, shards, -1, x.shape[-1])
    return partitioning.constrain(rows, (None, 'batch', None, 'length'))

  return {name: cut(x) for name, x in batch.items()}


def _count_tokens(batch: Batch) -> Array:
  """How many positions, of inputs and targets, hold a token."""
  inputs = jnp.sum(batch[ENCODER_INPUTS] > 0)
  return inputs + jnp.sum(batch[DECODER_TARGETS] > 0)
