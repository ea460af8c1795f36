"""What a checkpoint says of itself: one class for every file that says it.

A run writes it beside every checkpoint, and exported adapters carry it in their
`adapter_config.json`. Both hold the JSON that `Description.to_json` gives.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from moe_lite.core.errors import UserError
from moe_lite.t5.method import Method

# The name of the format of exported adapters, and the version that is written.
FORMAT_NAME = 'moe_lite'
VERSION = 1


@dataclasses.dataclass(frozen=True)
class BaseInfo:
  """Which base it is.

  Attributes:
    source: where the base was loaded from, as the user named it.
    fingerprint: see `parameters.fingerprint`.
  """

  source: str
  fingerprint: str


# What a run says that trained everything from random values.
NO_BASE = BaseInfo('none', 'none')
# The fingerprint of a base that a checkpoint does not name.
NOT_RECORDED = 'not recorded'


@dataclasses.dataclass(frozen=True)
class Description:
  """What a checkpoint says of itself.

  Attributes:
    method: what was trained, and in which network.
    base: the base under what was trained.
    step: how many steps were done.
    tree: the shape and type of every trained leaf, layers apart; see
      `leaf_shapes.shapes`.
    optimizer: the same for the optimizer's state. None in exported adapters,
      and in runs of the first version.
    data: what the run read: the fields of `data.Dataset`, and the seed. None
      where that is not known.
    batches: how many batches of these data were read.
    settings: what else decides how the run goes, by the names of macros.
    training: what exported adapters say of their run, for people to read.
    text: how texts became ids; see `inference.vocabulary.Text`. None in what a
      run wrote itself.
    stages: the stages before the run's own, if it began with other adapters;
      see `checkpoints.stages`.
    tasks: what the numbers beside tokens stand for: 'by', one of
      `data.task_ids.BY`, and 'names', of which the first has number 1. None if
      tokens have no numbers.
    version: the version of the format of exported adapters. None in what a run
      wrote itself.
    metrics: the sums of the metrics of the steps since the last line of
      metrics.jsonl; see `training.meter.Meter.state`. None if there are none.
    hashes: what tells whether leaves are what was saved: in exported adapters
      path to digest, in a run 'trainable' and 'optimizer' to path to checksum;
      see `core.integrity`. None in what earlier versions wrote. A run under T5X
      keeps the form of its network in these paths.
  """

  method: Method
  base: BaseInfo
  step: int = 0
  tree: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  optimizer: Mapping[str, Any] | None = None
  data: Mapping[str, Any] | None = None
  batches: int | None = None
  settings: Mapping[str, Any] | None = None
  training: Mapping[str, Any] | None = None
  text: Mapping[str, Any] | None = None
  stages: Sequence[Mapping[str, Any]] | None = None
  tasks: Mapping[str, Any] | None = None
  version: int | None = None
  metrics: Mapping[str, Any] | None = None
  hashes: Mapping[str, Any] | None = None

  @classmethod
  def from_json(cls, said: Mapping[str, Any]) -> 'Description':
    """Reads what `to_json` gave, or what an earlier version wrote.

    Raises:
      AttributeError, KeyError, TypeError: if an entry is missing that every
        version wrote, or is of another type.
    """
    base = said['base']
    later = (
      *('optimizer', 'data', 'batches', 'training', 'text', 'version'),
      *('settings', 'metrics', 'hashes', 'stages', 'tasks'),
    )
    return cls(
      method=Method.from_json(said),
      base=BaseInfo(base['source'], base['fingerprint']),
      step=said['step'],
      tree=dict(said['tree'].items()),
      **{name: said.get(name) for name in later},
    )

  def to_json(self) -> dict[str, Any]:
    """The description as values that JSON can hold, without what is None."""
    method = self.method.to_json()
    said = {
      'format': None if self.version is None else FORMAT_NAME,
      'version': self.version,
      'training': self.training,
      'text': self.text,
      'step': self.step,
      'base': dataclasses.asdict(self.base),
      'method': method['method'],
      'network': method.get('network'),
      'trainable': method['trainable'],
      'tree': self.tree,
      'optimizer': self.optimizer,
      'data': self.data,
      'batches': self.batches,
      'settings': self.settings,
      'stages': self.stages,
      'tasks': self.tasks,
      'metrics': self.metrics,
      'hashes': self.hashes,
    }
    return {name: value for name, value in said.items() if value is not None}

  def of_run(self) -> dict[str, Any]:
    """The part of `to_json` that holds for all checkpoints of a run."""
    kept = ('method', 'network', 'trainable', 'base', 'data', 'stages')
    return {name: x for name, x in self.to_json().items() if name in kept}

  def network_of(self, path: str) -> Mapping[str, Any]:
    """Returns the network, as `t5.description.to_json` gives it.

    Args:
      path: where the checkpoint is, for the message.

    Raises:
      UserError: if it does not say its network.
    """
    if self.method.network is None:
      raise UserError(
        f'{path} does not say which network it belongs to, because an older '
        'moe_lite wrote it. Export it first: python -m moe_lite.convert export '
        f'{path} --to=DIR'
      )
    return self.method.network

  @property
  def data_shards(self) -> int:
    """The number of shards that the data were read in."""
    # Before there were shards, the data were read in one.
    return (self.data or {}).get('data_shards', 1)


def check_same(run: str, trained_on: BaseInfo, now: BaseInfo) -> None:
  """Raises UserError unless a run stands on the base that is given now.

  Nothing is compared if one of them is `NOT_RECORDED`.

  Args:
    run: the folder of the run, for the message.
    trained_on: the base that its checkpoint names.
    now: the base that is given.
  """
  if NOT_RECORDED in (trained_on.fingerprint, now.fingerprint):
    return
  if trained_on.fingerprint != now.fingerprint:
    raise UserError(
      f'The run {run} stands on another base than INITIAL_CHECKPOINT_PATH '
      f'names:\n  the run: {trained_on.source} (fingerprint '
      f'{trained_on.fingerprint})\n  now: {now.source} (fingerprint '
      f'{now.fingerprint})\nGive the base that the run was trained on, or '
      'another run.'
    )
