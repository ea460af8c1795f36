"""Our networks and methods under T5X: `python -m t5x.train` and `t5x.eval`.

T5X brings its own loop, data, partitioning and checkpoint format. The files in
gin/t5x/ bind to it:

* a model that stops gradients at the frozen base,
* an optimizer that updates what trains, and keeps no state for the rest,
* a partitioner that knows MESH and FULLY_SHARDED,
* the checkpointer of `t5x_checkpointer`, whose checkpoints hold what trains.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import seqio
from flax import traverse_util

from moe_lite.core import logical_axes, partitioning, unknown_axes
from moe_lite.core.errors import UserError
from moe_lite.core.features import (
  DECODER_INPUTS,
  DECODER_TARGETS,
  ENCODED,
  ENCODER_INPUTS,
  PACKING,
  TASK_IDS,
)
from moe_lite.data import registry
from moe_lite.data.task_ids import FeatureConverter
from moe_lite.integrations import t5x_parts
from moe_lite.integrations.t5x_checkpointer import Checkpointer
from moe_lite.integrations.t5x_parts import MissingT5XError, require
from moe_lite.models import cached_decoder, router_losses
from moe_lite.models.forward import features_of_inputs
from moe_lite.routing.learned import ROUTER_RNG
from moe_lite.routing.router import STATISTICS
from moe_lite.routing.statistics import sum_by_path
from moe_lite.t5.network import Transformer

# What gin files of T5X name.
__all__ = [
  'Checkpointer',
  'EncoderDecoderModel',
  'MissingT5XError',
  'Partitioner',
  'as_it_is',
  'factor_rules',
  'require',
  'train_only',
  'vocabulary',
]


class EncoderDecoderModel(require(t5x_parts.models, 'EncoderDecoderModel')):
  """T5X's model, with its loss, scoring and decoding, over our network.

  Gradients of the frozen base are stopped where the loss begins. A norm or a
  metric over gradients can then not bring their computation back.
  """

  _router_losses = router_losses.RouterLosses()
  # What routers sow while a loss is traced. `_compute_logits` puts it here, and
  # `loss_fn` takes it.
  _sown: Any = None

  def __init__(
    self,
    *args,
    trainable: str,
    load_balance: float = 0.0,
    router_z_loss: float = 0.0,
    entropy_bonus: float = 0.0,
    task_ids: str | None = None,
    **kwargs,
  ):
    """Checks the weights of the auxiliary losses.

    If a batch has microbatches, each of them has auxiliary losses of its own,
    because T5X also normalises the loss of each by itself.

    Args:
      *args: arguments of T5X's model.
      trainable: the pattern of what trains; see `parameters.split`.
      load_balance: see `router_losses.RouterLosses`, also for the next two.
      router_z_loss: see there.
      entropy_bonus: see there.
      task_ids: what the numbers beside tokens stand for; see `t5x_data`.
      **kwargs: arguments of T5X's model.
    """
    super().__init__(*args, **kwargs)
    if task_ids is not None:
      self.FEATURE_CONVERTER_CLS = FeatureConverter
    self._is_trainable = re.compile(trainable).fullmatch
    self._router_losses = router_losses.RouterLosses(
      load_balance, router_z_loss, entropy_bonus
    )

  def get_initial_variables(
    self,
    rng: jax.Array,
    input_shapes: Mapping[str, Any],
    input_types: Mapping[str, Any] | None = None,
  ) -> Any:
    # If T5X is not told types, as in evaluation, it takes ids for floats.
    types = input_types or dict.fromkeys(input_shapes, jnp.int32)
    variables = super().get_initial_variables(rng, input_shapes, types)
    if isinstance(self.module, Transformer):  # T5X's networks have other axes.
      axes = partitioning.axis_names(variables['params_axes'])
      unknown_axes.check(flax.core.unfreeze(variables['params']), axes)
    return variables

  def loss_fn(
    self, params: Any, batch: Mapping[str, Any], dropout_rng: Any
  ) -> tuple[jax.Array, Any]:
    leaves = traverse_util.flatten_dict(params, sep='/')
    params = traverse_util.unflatten_dict(
      {
        path: leaf if self._is_trainable(path) else jax.lax.stop_gradient(leaf)
        for path, leaf in leaves.items()
      },
      sep='/',
    )
    loss, metrics = super().loss_fn(params, batch, dropout_rng)
    if self._router_losses:
      sown, self._sown = self._sown, None
      auxiliary, values = self._router_losses(params, sum_by_path(sown))
      average = t5x_parts.clu_metrics.Average
      loss += auxiliary
      metrics |= {
        name: average(total=value, count=jnp.float32(1))
        for name, value in values.items()
      }
    return loss, metrics

  def _compute_logits(
    self,
    params: Any,
    batch: Mapping[str, Any],
    dropout_rng: Any = None,
    mutable: Any = False,
    other_variables: Any = None,
  ) -> Any:
    """Computes logits as T5X does, and keeps what routers sow.

    Routers also get a random stream. T5X calls this method with these
    arguments.
    """
    rngs = None
    if dropout_rng is not None:
      router_rng = jax.random.fold_in(dropout_rng, 1)
      rngs = {'dropout': dropout_rng, ROUTER_RNG: router_rng}
    keeps = bool(self._router_losses) and mutable is False
    made = self.module.apply(
      {'params': params, **(other_variables or {})},
      batch[ENCODER_INPUTS],
      batch[DECODER_INPUTS],
      batch[DECODER_TARGETS],
      **{name: batch[name] for name in (*PACKING, *TASK_IDS) if name in batch},
      enable_dropout=rngs is not None,
      rngs=rngs,
      mutable=[STATISTICS] if keeps else mutable,
    )
    if not keeps:
      return made
    logits, variables = made
    self._sown = variables.get(STATISTICS, {})
    return logits

  def predict_batch_with_aux(
    self, params: Any, batch: Mapping[str, Any], *args: Any, **kwargs: Any
  ) -> Any:
    """Predicts as T5X does, where routers also read what T5X does not name."""
    with nn.intercept_methods(_reading(features_of_inputs(batch))):
      return super().predict_batch_with_aux(params, batch, *args, **kwargs)

  def _compute_kv_cache(
    self,
    params: Any,
    encoded_inputs: jax.Array,
    encoder_input_tokens: jax.Array,
    decoder_input_tokens: jax.Array,
    prefill_decoder_prompt: bool = False,
  ) -> tuple[Any, Any]:
    """Also computes what each decoding step would compute again.

    T5X calls this method, and the next, with these arguments.
    """
    cache, index = super()._compute_kv_cache(
      params,
      encoded_inputs,
      encoder_input_tokens,
      decoder_input_tokens,
      prefill_decoder_prompt,
    )
    if not isinstance(self.module, Transformer):
      # T5X's networks have nothing but their cache.
      return cache, index
    given = (encoded_inputs, encoder_input_tokens, {})
    once = cached_decoder.of_inputs(self.module, params, given)
    # T5X's decoders hand on what a cache holds, whatever it is.
    return {'cache': cache, ENCODED: once}, index

  def _compute_logits_from_slice(
    self,
    decoding_state: Any,
    params: Any,
    encoded_inputs: jax.Array,
    raw_inputs: jax.Array,
    max_decode_length: int,
  ) -> tuple[jax.Array, Any]:
    if not isinstance(self.module, Transformer):
      return super()._compute_logits_from_slice(
        decoding_state,
        params,
        encoded_inputs,
        raw_inputs,
        max_decode_length,
      )
    logits, cache = cached_decoder.decode(
      self.module,
      {'params': params, **decoding_state.cache},
      (encoded_inputs, raw_inputs, {}),
      decoding_state.cur_token,
      max_decode_length,
    )
    return logits[:, 0], {**decoding_state.cache, 'cache': cache}


def _reading(features: Mapping[str, jax.Array]) -> Any:
  """Returns an interceptor that gives our networks features of the inputs.

  T5X names only the tokens when it encodes and decodes.

  Args:
    features: what routers may read of the inputs, each [B, ...]. If B * K rows
      are decoded, the K rows of an input are neighbours.
  """

  def call(method: Any, args: Any, kwargs: Any, context: Any) -> Any:
    names = ('encode', 'decode')
    if isinstance(context.module, Transformer) and context.method_name in names:
      rows = len(args[0])
      given = {
        name: jnp.repeat(x, rows // len(x), axis=0)
        for name, x in features.items()
      }
      kwargs = {**kwargs, **given}
    return method(*args, **kwargs)

  return call


def vocabulary(mixture_or_task_name: str, feature: str) -> seqio.Vocabulary:
  """Returns the vocabulary of a feature, which T5X's model asks for.

  Args:
    mixture_or_task_name: the task or mixture that has the feature.
    feature: the name of the feature, 'inputs' or 'targets'.
  """
  provider = registry.find(mixture_or_task_name)
  return provider.output_features[feature].vocabulary


def train_only(optimizer_def: Any, trainable: str) -> Any:
  """Returns T5X's MultiOptimizer with one optimizer, which updates what trains.

  Args:
    optimizer_def: one of T5X's optimizers.
    trainable: the pattern of what trains; see `parameters.split`.
  """
  is_trainable = re.compile(trainable).fullmatch
  # T5X's paths begin with a slash.
  traversal = traverse_util.ModelParamTraversal(
    lambda path, _: bool(is_trainable(path.removeprefix('/')))
  )
  multi = require(t5x_parts.optimizers, 'MultiOptimizer')
  return multi(((traversal, optimizer_def),))


def as_it_is(state_dict: Any, *_: Any, **__: Any) -> Any:
  """A transformation that changes nothing, where T5X wants to have one."""
  return state_dict


class Partitioner(require(t5x_parts.partitioning, 'PjitPartitioner')):
  """T5X's partitioner, on MESH."""

  def __init__(
    self,
    mesh: Sequence[int] | None = None,
    fully_sharded: bool = False,
    **kwargs: Any,
  ):
    """Makes the rules.

    Args:
      mesh: (data, model). None puts every device on `data`. T5X finds the data
        axis itself, as the number of devices over that of `model`.
      fully_sharded: whether parameters are also split over `data`.
      **kwargs: arguments of T5X's partitioner.

    Raises:
      UserError: if the mesh is 'auto', which only our own loop can find.
    """
    if isinstance(mesh, str):
      raise UserError(f'MESH = {mesh!r} must be a pair under T5X, or None.')
    rules = require(t5x_parts.partitioning, 'standard_logical_axis_rules')(
      parameter_partitioning_dims=2 if fully_sharded else 1,
      additional_rules=[(name, None) for name in logical_axes.SHORT],
    )
    super().__init__(
      num_partitions=1 if mesh is None else mesh[1],
      logical_axis_rules=rules,
      **kwargs,
    )
    self._shape = mesh

  @functools.cached_property
  def mesh(self) -> jax.sharding.Mesh:
    # T5X ignores the model axis where a process has several devices of a CPU.
    if jax.devices()[0].platform == 'cpu' and self._shape is not None:
      return partitioning.make_mesh(self._shape)
    return super().mesh


def factor_rules() -> Mapping[str, Any]:
  """Returns the axes that Adafactor may factor over.

  They are those of T5X's rules, without the short axes of adapters. The
  moments of adapters are then kept whole, as `optimizers.adafactor` keeps them.
  There is one exception. If both sides of a matrix are 128 or more, because
  there are so many experts or the rank is so high, T5X applies no rule to it
  and factors it.
  """
  rules = require(t5x_parts.adafactor, 'standard_logical_factor_rules')()
  whole = require(t5x_parts.adafactor, 'FactorDim').NONE
  return {**rules, **dict.fromkeys(logical_axes.SHORT, whole)}
