"""T5X's checkpointer, over a base that lies elsewhere.

T5X saves and restores what trains by its own code. The base is read by
`checkpoints.bases`, as everywhere in this package: it may have any form, lie in
any folder or bucket, and have its layers apart or stacked.
"""

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tensorflow.io import gfile

from moe_lite.checkpoints import bases, initial_adapters
from moe_lite.checkpoints.description import BaseInfo, Description, check_same
from moe_lite.checkpoints.t5x import native
from moe_lite.core import parameters, partitioning
from moe_lite.core.errors import UserError, some
from moe_lite.core.parameters import unflatten
from moe_lite.core.progress import say
from moe_lite.data.dataset import Dataset, tasks_known
from moe_lite.integrations import t5x_checkpoints
from moe_lite.integrations.t5x_checkpoints import FromBase
from moe_lite.integrations.t5x_parts import checkpoints, require
from moe_lite.t5.description import describe_run
from moe_lite.t5.method import Method, check_method
from moe_lite.t5.network import Transformer
from moe_lite.t5.tasks import check_experts, check_tasks

# The CHECKPOINT_PATH that stands for the frozen base without any run.
BASE = 'base'
_TYPES = ('bfloat16', 'float32')
# The base that this process has read. T5X makes one checkpointer to restore,
# and another one to save, which says on what base the run stands.
_loaded: dict[str, BaseInfo] = {}
# The stages before the run, by the same base.
_stages: dict[str, Sequence[Mapping[str, Any]] | None] = {}


class Checkpointer(require(checkpoints, 'Checkpointer')):
  """Saves what trains, and restores it onto a base.

  T5X's configs of checkpoints name this class, both to save and to restore.
  """

  def __init__(
    self,
    *args: Any,
    base_path: str,
    module: Transformer,
    trainable: str,
    base_dtype: str = 'bfloat16',
    dataset: Dataset | None = None,
    seed: int = 0,
    initial_adapters: str | None = None,
    expert_noise: float = 0.0,
    **kwargs: Any,
  ):
    """Checks the arguments.

    Args:
      *args: arguments of T5X's checkpointer.
      base_path: the base; see `bases.load_base` for what it may be.
      module: the network.
      trainable: the pattern of what trains; see `parameters.split`.
      base_dtype: the type in which the frozen base is held.
      dataset: what is trained on; None where nothing is saved.
      seed: the seed of the data.
      initial_adapters: the adapters to begin with; see `initial_adapters.read`.
        None draws them.
      expert_noise: relative to each number, what is added to copies of an
        expert.
      **kwargs: arguments of T5X's checkpointer.

    Raises:
      UserError: if the type is not one that T5X can hold, or if the data do
        not have the tasks that routers tell apart.
    """
    if base_dtype not in _TYPES:
      raise UserError(
        f'BASE_DTYPE = {base_dtype!r} is not possible under T5X, which '
        'differentiates by everything that it holds: give '
        f'{" or ".join(map(repr, _TYPES))}.'
      )
    self._tasks = None if dataset is None else tasks_known(dataset)
    if dataset is not None:
      check_tasks(module.config, self._tasks)
    super().__init__(*args, **kwargs)
    self._base_path, self._network = base_path, module.config
    self._pattern, self._base_dtype = trainable, base_dtype
    self._dataset, self._seed = dataset, seed
    self._initial, self._noise = initial_adapters, expert_noise
    # What the next restoring reads the base from; and which checkpoint it
    # reads, with what that says of itself.
    self._source = base_path
    self._said: tuple[str, Description] | None = None

  def save(
    self,
    train_state: Any,
    state_transformation_fns: Sequence[Any] = (),
    **kwargs: Any,
  ) -> None:
    save = functools.partial(
      t5x_checkpoints.save,
      trainable=self._pattern,
      said=self._describe(),
      dtype=self._save_dtype or jnp.float32,
    )
    super().save(train_state, (*state_transformation_fns, save), **kwargs)

  def restore(
    self,
    step: int | None = None,
    path: str | None = None,
    state_transformation_fns: Sequence[Any] = (),
    fallback_state: Mapping[str, Any] | None = None,
    lazy_parameters: bool = False,
  ) -> Any:
    """Restores a run, or begins one.

    T5X gives `fallback_state` where a run begins: the state with random values.
    What the base does not have is taken from it. The path `BASE` stands for the
    frozen base alone.
    """
    if fallback_state is not None:
      return self._begin(fallback_state)
    if path is not None and not gfile.exists(f'{path}/checkpoint'):
      # It is the frozen base alone, or a base of another form than T5X's.
      path = self._base_path if path == BASE else path
      names = t5x_checkpoints.flatten(self._parameter_infos['target'])
      target = unflatten(self._load(path, list(names)))
      state = {'target': target, 'state': {'step': np.int32(0)}}
      return self._restore_train_state(state)
    where = path or f'{self.checkpoints_dir}, step {step}'
    add = functools.partial(self._add_base, where)
    return super().restore(
      step, path, (*state_transformation_fns, add), None, lazy_parameters
    )

  def _begin(self, fallback_state: Mapping[str, Any]) -> Any:
    drawn = t5x_checkpoints.flatten(fallback_state['target'])
    names = [x for x in drawn if not parameters.is_adapter(x)]
    leaves = self._load(self._base_path, names)
    say(f'The base is {self._base_path}.')
    target = unflatten({**drawn, **leaves, **self._begin_with()})
    return self._restore_train_state({**fallback_state, 'target': target})

  def _begin_with(self) -> dict[str, jax.Array]:
    """Reads the adapters to begin with: path to leaf, in the network's form."""
    infos = t5x_checkpoints.flatten(self._parameter_infos['target'])
    shapes = {
      x: jax.ShapeDtypeStruct(info.shape, 'float32')
      for x, info in infos.items()
    }
    wanted = jax.eval_shape(parameters.unstack_layers, unflatten(shapes))
    taken = initial_adapters.read(
      self._initial, self._network, wanted, self._noise, self._seed
    )
    if taken is None:
      say('Adapters begin anew.')
      return {}
    check_experts(taken.source, taken.tasks, self._network, self._tasks)
    check_same(taken.source, taken.base, _loaded[self._base_path])
    _stages[self._base_path] = taken.stages
    say(str(taken))
    form = parameters.like_network(
      unflatten(dict(taken.leaves)), self._network.scan_layers
    )
    return {
      x: partitioning.put(
        np.asarray(leaf),
        jax.sharding.NamedSharding(self._partitioner.mesh, infos[x].axes),
      )
      for x, leaf in parameters.flatten(form).items()
    }

  def _add_base(self, where: str, state_dict: Any, wanted: Any) -> Any:
    """The transformation of what T5X found in a checkpoint."""
    said = native.description_in(state_dict, where)
    if said is not None:
      check_method(where, said.method, self._method)
      _stages[self._base_path] = said.stages
    if not np.asarray(t5x_checkpoints.flatten(state_dict).get('state/step', 1)):
      # T5X looks at the first batch before it saves step 0, so that the place
      # in the data that it saves there lies behind that batch.
      self._dataset_iterator = None
    is_whole = t5x_checkpoints.is_whole(state_dict)
    # A whole one is of full fine-tuning, or a base.
    self._source = where if is_whole else self._base_path
    self._said = None if said is None else (where, said)
    state = t5x_checkpoints.add_base(state_dict, wanted)
    if lost := t5x_checkpoints.lacks(state, wanted):
      raise UserError(
        f'The checkpoint {where} is of another method than this command names: '
        f'it has no {some(lost)}.'
      )
    return state

  def _read_state_from_tensorstore(
    self,
    ckpt_path: str,
    written_state_dict: Mapping[str, Any],
    restore_parameter_infos: Mapping[str, Any] | None = None,
    lazy_parameters: bool = False,
  ) -> Mapping[str, Any]:
    """Reads what T5X has in a checkpoint, and the rest from the base."""
    infos = restore_parameter_infos or self._parameter_infos
    written = t5x_checkpoints.flatten(written_state_dict['target'])
    names = [x for x, leaf in written.items() if isinstance(leaf, FromBase)]
    keep = lambda tree: unflatten(
      {x: y for x, y in t5x_checkpoints.flatten(tree).items() if x in kept}
    )
    kept = written.keys() - set(names)
    state = super()._read_state_from_tensorstore(
      ckpt_path,
      {**written_state_dict, 'target': keep(written_state_dict['target'])},
      {**infos, 'target': keep(infos['target'])},
      lazy_parameters,
    )
    if self._said is not None:
      where, said = self._said
      t5x_checkpoints.check(where, state, said)
    if not names:
      return state
    leaves = self._load(self._source, names)
    if self._said is not None:
      check_same(where, said.base, _loaded[self._source])
    target = unflatten({**t5x_checkpoints.flatten(state['target']), **leaves})
    return {**state, 'target': target}

  def _load(self, path: str, names: Sequence[str]) -> dict[str, jax.Array]:
    """Reads parameters of a base onto the devices where T5X wants them."""
    infos = t5x_checkpoints.flatten(self._parameter_infos['target'])
    is_trainable = re.compile(self._pattern).fullmatch
    wanted = {
      name: jax.ShapeDtypeStruct(
        infos[name].shape,
        'float32' if is_trainable(name) else self._base_dtype,
        sharding=jax.sharding.NamedSharding(
          self._partitioner.mesh, infos[name].axes
        ),
      )
      for name in names
    }
    tree, _loaded[path] = bases.load_base(
      path, unflatten(wanted), self._network
    )
    return t5x_checkpoints.flatten(tree)

  @property
  def _method(self) -> Method:
    return describe_run(self._network, self._pattern)

  def _describe(self) -> Description:
    """What a checkpoint is to say of the run."""
    base = _loaded.get(self._base_path)
    if base is None:  # A run of full fine-tuning goes on without its base.
      base = BaseInfo(self._base_path, bases.fingerprint(self._base_path))
    assert self._dataset is not None
    data = {**dataclasses.asdict(self._dataset), 'seed': self._seed}
    data['task_feature_lengths'] = dict(self._dataset.task_feature_lengths)
    stages = _stages.get(self._base_path)
    return Description(
      self._method, base, data=data, stages=stages, tasks=self._tasks
    )
