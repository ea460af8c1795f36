"""One training step: it moves what trains, on a base that never moves.

The base is an argument of the compiled step, but not one of its outputs. No
gradient, optimizer slot or copy of it exists. What trains is held in float32,
in the network's form. If the network scans over its layers, the program of a
step is as large for 48 layers as for two. On disk layers lie apart; see
`checkpoints.run_items`.
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
# A step takes the state, the base and a batch. It returns the new state, and
# metrics.
Step = Callable[['TrainState', Tree, Batch], tuple['TrainState', Metrics]]

# A step adds these metrics to those of the loss. Each has the way in which the
# values of several steps become one.
REDUCTIONS = {
  'normalizer': Reduction.SUM,
  'nonpadding': Reduction.SUM,
  'grad_norm': Reduction.MEAN,
  'update_norm': Reduction.MEAN,
  'learning_rate': Reduction.MEAN,
}


class TrainState(struct.PyTreeNode):
  """Everything that a step changes, as arrays or as their shapes.

  Attributes:
    step: how many steps are done, an int32 scalar.
    trainable: the parameters that train: float32, in the network's form.
    optimizer: the state of optax.
    rng: the data of a random key. Dropout and routers draw from the key after
      the number of the step is folded in.
  """

  step: Any
  trainable: Tree
  optimizer: Any
  rng: Any


def abstract_state(
  optimizer: optax.GradientTransformation, trainable: str, where: Layout
) -> TrainState:
  """Returns the shapes, types and places of the state.

  Args:
    optimizer: the optimizer.
    trainable: a regular expression over whole paths. What matches trains.
    where: the layout of the parameters on the mesh.
  """
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
  """Returns the state before the first step.

  Args:
    model: the model.
    optimizer: the optimizer.
    abstract: the shapes and places of the state; see `abstract_state`.
    seed: the seed of everything random in the run except the data.
    loaded: parameters to take in place of random values, because a base has
      them and they train. None if there are none.
  """
  _, rng = jax.random.split(jax.random.key(seed))
  shardings = jax.tree.map(lambda x: x.format, abstract)
  values = draw(model, abstract.trainable, seed)
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


def draw(model: EncoderDecoderModel, wanted: Tree, seed: int) -> Tree:
  """Draws some parameters of a run, in float32.

  A parameter has one value for a seed, whatever is drawn beside it.

  Args:
    model: the model.
    wanted: the shapes and places of these parameters.
    seed: the seed of the run.
  """
  key, _ = jax.random.split(jax.random.key(seed))
  paths = parameters.flatten(wanted)

  def some(key: Array) -> Tree:
    shapes: Mapping[str, Shape] = dict.fromkeys(
      (ENCODER_INPUTS, DECODER_INPUTS), (1, 8)
    )
    params = model.get_initial_variables(key, shapes)['params']
    # What is not returned, such as the base, the compiler does not draw.
    drawn = parameters.flatten(params)
    return parameters.cast(
      parameters.unflatten({path: drawn[path] for path in paths}), jnp.float32
    )

  shardings = jax.tree.map(lambda x: x.format, wanted)
  return jax.jit(some, out_shardings=shardings)(key)


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
    schedule: the schedule of the learning rate, which is reported.
    microbatches: how many parts of a batch are worked through in turn. All
      parts share the loss normalizer of the whole batch, so their gradients add
      up to those of the batch.
    shards: how many shards a microbatch is cut into. Each shard adds up its
      gradients over the microbatches, and the shards are added to one another
      after the last microbatch. With as many shards as the mesh's `data` axis
      has devices, gradients cross the network once a step. Every device then
      holds all gradients.
  """

  def over_parts(of_rows: Callable[[Batch, Array], T], batch: Batch) -> T:
    """Returns the sum of `of_rows` over all parts of a batch.

    Args:
      of_rows: a function of the rows of a part and of the part's number.
      batch: the whole batch.
    """
    if microbatches == 1:
      return of_rows(batch, jnp.int32(0))

    def of_shards(rows: Batch, part: Array) -> T:
      """Returns `of_rows` of every shard, on an axis in front."""
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

    # Losses of routers need the routing of the whole batch, so it is computed
    # before the gradients of any part. Without a load balance the compiler
    # drops everything here but the counts of tokens.
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
  """Compiles a step for the shapes and places of its arguments.

  Args:
    step: the function; see `make_step`.
    state: the shapes and places of the state. The program donates it.
    base: the shapes and places of the frozen parameters.
    batch: the shapes and places of a batch.
    where: the layout of the parameters on the mesh.
  """
  out = jax.tree.map(lambda x: x.format, state), where.replicated
  with partitioning.axis_rules(where.mesh):
    jitted = jax.jit(step, donate_argnums=0, out_shardings=out)
    return jitted.lower(state, base, batch).compile()


def _norm(tree: optax.Updates) -> Array:
  """Returns the Euclidean norm of all leaves together."""
  return jnp.sqrt(sum(jnp.sum(jnp.square(x)) for x in jax.tree.leaves(tree)))


def _cut(batch: Batch, parts: int, shards: int) -> Batch:
  """Cuts a batch [B, ...] into parts [parts, B / parts, ...].

  With several shards the parts are [parts, shards, B / parts / shards, ...].
  Every device cuts its own rows.
  """

  def cut(x: Array) -> Array:
    of_row = [None] * (x.ndim - 1)
    rows = x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1)
    if shards == 1:
      return partitioning.constrain(rows, (None, 'batch', *of_row))
    rows = rows.reshape(parts, shards, -1, *x.shape[1:])
    return partitioning.constrain(rows, (None, 'batch', None, *of_row))

  return {name: cut(x) for name, x in batch.items()}


def _count_tokens(batch: Batch) -> Array:
  """Returns how many positions of the inputs and the targets hold a token."""
  inputs = jnp.sum(batch[ENCODER_INPUTS] > 0)
  return inputs + jnp.sum(batch[DECODER_TARGETS] > 0)
