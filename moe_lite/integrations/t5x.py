"""Our networks and methods under T5X: `python -m t5x.train` and `t5x.eval`.

This is the only module that imports T5X. T5X brings its own loop, data,
partitioning and checkpoint format. The files in gin/t5x/ bind three things of
this module to it:

* a model that stops gradients at the frozen base,
* an optimizer that updates what trains, and keeps no state for the rest,
* the two functions of `t5x_checkpoints`, by which checkpoints hold only what
  trains.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import seqio
from flax import traverse_util

from moe_lite.core.errors import UserError
from moe_lite.core.features import (
  DECODER_INPUTS,
  DECODER_TARGETS,
  ENCODER_INPUTS,
  PACKING,
)
from moe_lite.integrations.t5x_checkpoints import (
  restore_onto_base,
  save_trainable,
)
from moe_lite.models import router_losses
from moe_lite.routing.learned import ROUTER_RNG
from moe_lite.routing.router import STATISTICS
from moe_lite.routing.statistics import sum_by_path

# What gin files of T5X name.
__all__ = [
  'EncoderDecoderModel',
  'MissingT5XError',
  'factor_rules',
  'model_partitions',
  'require',
  'restore_onto_base',
  'save_trainable',
  'train_only',
  'vocabulary',
]


class MissingT5XError(UserError, ImportError):
  """T5X is not installed, or it lacks something that this module uses."""


try:
  import clu.metrics
  import t5x.adafactor
  import t5x.models
  import t5x.optimizers
except ImportError as error:
  raise MissingT5XError(
    f'T5X cannot be imported ({error}). It is not on PyPI: install it and '
    'airio from their git repositories, and what they need with '
    "pip install 'moe_lite[t5x]', as README says under 'With T5X'. To train "
    'without T5X, use python -m moe_lite.train with runs/finetune.gin in place '
    'of t5x/finetune.gin.'
  ) from error


def require(module: Any, name: str) -> Any:
  """Returns an attribute of a module of T5X.

  Raises:
    MissingT5XError: if the module does not have it.
  """
  try:
    return getattr(module, name)
  except AttributeError as error:
    raise MissingT5XError(
      f'The T5X that is installed has no {module.__name__}.{name}, because its '
      'API has changed: install the commit that README names.'
    ) from error


class EncoderDecoderModel(require(t5x.models, 'EncoderDecoderModel')):
  """T5X's model, with its loss, scoring and decoding, over our network.

  Gradients of the frozen base are stopped where the loss begins. A norm or a
  metric over gradients can then not bring their computation back.
  """

  def __init__(
    self,
    *args,
    trainable: str,
    load_balance: float = 0.0,
    router_z_loss: float = 0.0,
    entropy_bonus: float = 0.0,
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
      **kwargs: arguments of T5X's model.
    """
    super().__init__(*args, **kwargs)
    self._is_trainable = re.compile(trainable).fullmatch
    self._router_losses = router_losses.RouterLosses(
      load_balance, router_z_loss, entropy_bonus
    )
    # What routers sow while a loss is traced. `_compute_logits` puts it here,
    # and `loss_fn` takes it.
    self._sown: Any = None

  def get_initial_variables(
    self,
    rng: jax.Array,
    input_shapes: Mapping[str, Any],
    input_types: Mapping[str, Any] | None = None,
  ) -> Any:
    # If T5X is not told types, as in evaluation, it takes ids for floats.
    types = input_types or dict.fromkeys(input_shapes, jnp.int32)
    return super().get_initial_variables(rng, input_shapes, types)

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
      average = clu.metrics.Average
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
      **{name: batch[name] for name in PACKING if name in batch},
      enable_dropout=rngs is not None,
      rngs=rngs,
      mutable=[STATISTICS] if keeps else mutable,
    )
    if not keeps:
      return made
    logits, variables = made
    self._sown = variables.get(STATISTICS, {})
    return logits


def vocabulary(mixture_or_task_name: str, feature: str) -> seqio.Vocabulary:
  """Returns the vocabulary of a feature, which T5X's model asks for.

  Args:
    mixture_or_task_name: the task or mixture that has the feature.
    feature: the name of the feature, 'inputs' or 'targets'.
  """
  provider = seqio.get_mixture_or_task(mixture_or_task_name)
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
  multi = require(t5x.optimizers, 'MultiOptimizer')
  return multi(((traversal, optimizer_def),))


def model_partitions(mesh: Sequence[int] | None) -> int:
  """Returns the model axis of MESH = (data, model).

  T5X finds the data axis itself.
  """
  return 1 if mesh is None else mesh[1]


def factor_rules() -> Mapping[str, Any]:
  """Returns the axes that Adafactor may factor over.

  They are those of T5X's rules, without the axes `expert` and `rank`. The
  moments of adapters are then kept whole, as `optimizers.adafactor` keeps them.
  There is one exception. If both sides of a matrix are 128 or more, because
  there are so many experts or the rank is so high, T5X applies no rule to it
  and factors it.
  """
  rules = require(t5x.adafactor, 'standard_logical_factor_rules')()
  whole = require(t5x.adafactor, 'FactorDim').NONE
  return {**rules, 'expert': whole, 'rank': whole}
