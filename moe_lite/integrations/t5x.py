"""Our networks and methods under T5X: `python -m t5x.train` and `t5x.eval`.

The only module that imports T5X. T5X keeps its loop, data, partitioning and
checkpoint format; gin/t5x/ binds to it what stands here:

* a model that stops gradients at the frozen base,
* an optimizer for what trains, and nothing for the rest,
* checkpoints that hold what trains: `save_trainable` drops the base when T5X
  writes, `restore_onto_base` brings it back when T5X reads.
"""

import functools
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import seqio
from flax import serialization, traverse_util
from tensorflow.io import gfile

from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.core.features import PACKING
from moe_lite.models import router_losses
from moe_lite.routing.learned import ROUTER_RNG
from moe_lite.routing.router import STATISTICS
from moe_lite.routing.statistics import by_path, sum_examples


class MissingT5XError(UserError, ImportError):
  """T5X is not installed, or lacks what is used of it."""


try:
  import clu.metrics
  import t5x.adafactor
  import t5x.models
  import t5x.optimizers
except ImportError as error:
  raise MissingT5XError(
    f'T5X cannot be imported ({error}). It is not on PyPI: install it and '
    'airio from their git repositories, and what they need with '
    "pip install 'moe_lite[t5x]', as README says under 'With T5X'. Training "
    'without it: python -m moe_lite.train with runs/finetune.gin in place of '
    't5x/finetune.gin.'
  ) from error


def _of_t5x(module: Any, name: str) -> Any:
  """An attribute of T5X, or an error that names it."""
  try:
    return getattr(module, name)
  except AttributeError as error:
    raise MissingT5XError(
      f'The T5X that is installed has no {module.__name__}.{name}: its API '
      'moved. README names the commit that was tested.'
    ) from error


# Where T5X's checkpoints keep parameters, and the optimizer's state of each.
_TARGET = 'target/'
_STATES = 'state/param_states/'


class EncoderDecoderModel(_of_t5x(t5x.models, 'EncoderDecoderModel')):
  """T5X's model over our network: its loss, scoring and decoding.

  Gradients of the frozen base are stopped where the loss begins, so that no
  norm or metric over gradients can bring their computation back.
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
    """Args: `trainable`, see `parameters.split`; the next three, see
    `router_losses`; the rest is T5X's.

    With microbatches each has auxiliary losses of its own, as T5X normalises
    each one's loss by itself.
    """
    super().__init__(*args, **kwargs)
    self._is_trainable = re.compile(trainable).fullmatch
    self._router_losses = router_losses.RouterLosses(
      load_balance, router_z_loss, entropy_bonus
    )
    # What routers sow while a loss is traced.
    self._sown: Any = None

  def get_initial_variables(
    self,
    rng: jax.Array,
    input_shapes: Mapping[str, Any],
    input_types: Mapping[str, Any] | None = None,
  ) -> Any:
    # T5X takes ids for floats where it is told no types, as in evaluation.
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
      sums = {
        router: sum_examples(statistics)
        for router, statistics in by_path(sown).items()
      }
      auxiliary, values = self._router_losses(params, sums)
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
    """T5X's, with a random stream for routers, and what they sow kept."""
    rngs = None
    if dropout_rng is not None:
      router_rng = jax.random.fold_in(dropout_rng, 1)
      rngs = {'dropout': dropout_rng, ROUTER_RNG: router_rng}
    keeps = bool(self._router_losses) and mutable is False
    made = self.module.apply(
      {'params': params, **(other_variables or {})},
      batch['encoder_input_tokens'],
      batch['decoder_input_tokens'],
      batch['decoder_target_tokens'],
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
  """Of a feature of a task or mixture; T5X's model asks for it."""
  provider = seqio.get_mixture_or_task(mixture_or_task_name)
  return provider.output_features[feature].vocabulary


def train_only(optimizer_def: Any, trainable: str) -> Any:
  """T5X's MultiOptimizer with one optimizer, for what trains.

  Args:
    optimizer_def: one of T5X's optimizers.
    trainable: see `parameters.split`.
  """
  is_trainable = re.compile(trainable).fullmatch
  # T5X's paths begin with a slash.
  traversal = traverse_util.ModelParamTraversal(
    lambda path, _: bool(is_trainable(path.removeprefix('/')))
  )
  multi = _of_t5x(t5x.optimizers, 'MultiOptimizer')
  return multi(((traversal, optimizer_def),))


def model_partitions(mesh: Sequence[int] | None) -> int:
  """The model axis of MESH = (data, model); T5X finds the other one itself."""
  return 1 if mesh is None else mesh[1]


def factor_rules() -> Mapping[str, Any]:
  """Which axes Adafactor may factor over: T5X's rules, not expert and rank.

  Adapters' moments are then whole, as those of `optimizers.adafactor`, but for
  matrices with both sides of 128 or more (so many experts, or such a rank): to
  these T5X applies no rule and factors them.
  """
  rules = _of_t5x(t5x.adafactor, 'standard_logical_factor_rules')()
  whole = _of_t5x(t5x.adafactor, 'FactorDim').NONE
  return {**rules, 'expert': whole, 'rank': whole}


def save_trainable(
  state_dict: Any, parameter_infos: Any, trainable: str
) -> tuple[Any, Any]:
  """For `SaveCheckpointConfig.state_transformation_fns`: drops the base.

  What trains, its optimizer state and the step stay.
  """
  keep = functools.partial(_keep_trainable, trainable=trainable)
  return keep(state_dict), keep(parameter_infos)


def restore_onto_base(
  state_dict: Any,
  target_state_dict: Any,
  base_path: str,
  is_resuming: bool = False,
) -> Any:
  """For `RestoreCheckpointConfig.state_transformation_fns`: adds the base.

  Args:
    state_dict: of a checkpoint, of adapters alone or of a whole model.
    target_state_dict: of the model now; says which leaves to return.
    base_path: the T5X checkpoint that adapters belong to.
    is_resuming: whether T5X goes on with a run of its own.

  Returns:
    The state to restore. Where a run begins, parameters alone: its step and
    its optimizer's state begin anew.

  Raises:
    UserError: if the base lacks a parameter of the network.
  """
  found, wanted = _flatten(state_dict), _flatten(target_state_dict)
  is_evaluation = not any(path.startswith(_STATES) for path in wanted)
  if _TARGET + 'token_embedder/embedding' in found:
    if is_resuming:  # Of full fine-tuning: its checkpoints are whole.
      return state_dict
    _check_base(base_path, found, wanted)
    begins_anew = lambda path: path.startswith('state/') and not is_evaluation
    found = {path: x for path, x in found.items() if not begins_anew(path)}
    return traverse_util.unflatten_dict(found, sep='/')
  base = _read_base(base_path)
  _check_base(base_path, base, wanted)
  merged = {}
  for path in wanted:
    if path in found:
      merged[path] = found[path]
    elif path in base:
      merged[path] = base[path]
    elif path.startswith(_STATES):
      # T5X holds None in the place of a state that no optimizer keeps.
      merged[path] = None
  return traverse_util.unflatten_dict(merged, sep='/')


def _flatten(tree: Any) -> dict[str, Any]:
  """Path to leaf; what describes an array on disk is a leaf."""
  return traverse_util.flatten_dict(
    tree,
    sep='/',
    is_leaf=lambda _, node: isinstance(node, Mapping) and 'driver' in node,
  )


def _keep_trainable(tree: Any, trainable: str) -> Any:
  is_trainable = re.compile(trainable).fullmatch
  kept = {}
  for path, leaf in _flatten(tree).items():
    name = path.removeprefix(_TARGET).removeprefix(_STATES)
    if name == path or is_trainable(name):
      kept[path] = leaf
  return traverse_util.unflatten_dict(kept, sep='/')


def _read_base(path: str) -> dict[str, Any]:
  """The parameters of a T5X checkpoint, large ones as places on disk."""
  file = os.path.join(path, 'checkpoint')
  if not gfile.exists(file):
    raise UserError(
      f'INITIAL_CHECKPOINT_PATH = {path!r} is no T5X checkpoint: it has no '
      "file 'checkpoint'. Give a folder such as .../checkpoint_1100000."
    )
  with gfile.GFile(file, 'rb') as stream:
    contents = serialization.msgpack_restore(stream.read())
  leaves = _flatten(contents['optimizer'])
  return {
    key: _absolute(leaf, path)
    for key, leaf in leaves.items()
    if key.startswith(_TARGET)
  }


def _absolute(leaf: Any, folder: str) -> Any:
  """A place on disk that T5X would look for within another checkpoint."""
  if not isinstance(leaf, Mapping):
    return leaf
  store = dict(leaf['kvstore'])
  store['path'] = os.path.join(os.path.abspath(folder), store['path'])
  return {**leaf, 'kvstore': store}


def _check_base(
  base_path: str, base: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
  """Every parameter but adapters' comes from the base, none from a draw."""
  missing = [
    path.removeprefix(_TARGET)
    for path in wanted
    if path.startswith(_TARGET)
    and not parameters.is_adapter(path.removeprefix(_TARGET))
    and path not in base
  ]
  if missing:
    raise UserError(
      f'The base {base_path} lacks {len(missing)} parameters of this network, '
      f'first {missing[0]}. Give the checkpoint of a model of this size, and '
      'SCAN_LAYERS as it was saved.'
    )
