"""How routers treat data sets: what a run's routers sow, summed over each."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import seqio

from moe_lite.core import progress
from moe_lite.core.errors import UserError
from moe_lite.core.features import INPUTS_EMBEDDING
from moe_lite.core.progress import say
from moe_lite.core.types import Tree
from moe_lite.data import catalog
from moe_lite.data import dataset as data
from moe_lite.inference.padding import Input, Shapes, pad_inputs, pad_targets
from moe_lite.inference.source import ModelSource
from moe_lite.inference.trained import Trained
from moe_lite.routing.statistics import by_router
from moe_lite.training import run_folder

_BATCH_SIZE = 32


@dataclasses.dataclass(frozen=True)
class Example:
  """An example, and the task that it is of.

  Attributes:
    task: of SeqIO.
    row: ids `inputs` and `targets`, and what else the task has.
  """

  task: seqio.Task
  row: Mapping[str, np.ndarray]


# Data set to examples of its tasks.
Examples = Mapping[str, Sequence[Example]]


@dataclasses.dataclass
class Usage:
  """How one router treated the tokens of one data set, summed over them.

  Attributes:
    probability: [E], of each expert.
    weight: [E], with which it takes part in the mixture.
    load: [E], tokens whose mixture the expert takes part in.
    entropy: of the probabilities of a token, nats.
    tokens: how many there were.
  """

  probability: np.ndarray
  weight: np.ndarray
  load: np.ndarray
  entropy: float
  tokens: float

  def __add__(self, other: 'Usage') -> 'Usage':
    return Usage(
      self.probability + other.probability,
      self.weight + other.weight,
      self.load + other.load,
      self.entropy + other.entropy,
      self.tokens + other.tokens,
    )


# Data set to router ('encoder/layers_1/attention/key') to its usage.
Routing = Mapping[str, Mapping[str, Usage]]


@dataclasses.dataclass(frozen=True)
class Source:
  """What a run is measured with.

  Attributes:
    trained: the run.
    tasks: to read; of a `_score_eval` twin the right choices are read.
    lengths: {'inputs': L, 'targets': T}; longer ones are trimmed.
    use_cached: read what `seqio_cache_tasks` wrote.
  """

  trained: Trained
  tasks: Sequence[seqio.Task]
  lengths: Mapping[str, int]
  use_cached: bool = False


def open_run(
  run: str, mixtures: Sequence[str] | None, step: int | None = None
) -> Source:
  """Loads a run by its own configuration.

  Args:
    run: its MODEL_DIR.
    mixtures: or tasks, to read; those of its training by default.
    step: of its checkpoint; the last by default.

  Raises:
    UserError: if the run cannot be read, or there is no such mixture.
  """
  config = run_folder.read_config(run)
  dataset = config['dataset']
  # A task of two mixtures counts once.
  tasks: dict[str, seqio.Task] = {}
  for name in mixtures or [dataset.mixture_or_task_name]:
    provider = data.find(name)
    parts = [provider] if isinstance(provider, seqio.Task) else provider.tasks
    tasks |= {task.name: task for task in parts}
  return Source(
    ModelSource.of_run(run, config, step).load(),
    list(tasks.values()),
    dataset.task_feature_lengths,
    dataset.use_cached,
  )


def read(source: Source, split: str, examples: int) -> Examples:
  """Reads the first examples of every task.

  Args:
    source: whose tasks.
    split: of each.
    examples: of each.

  Raises:
    UserError: if a task lacks the split.
  """
  found: dict[str, list[Example]] = defaultdict(list)
  bar = progress.Progress(len(source.tasks), unit='task')
  for task in source.tasks:
    info = catalog.lookup(task.name)
    data.check_split(task, split, source.use_cached)
    is_twin = task.name.endswith(catalog.SCORE_EVAL)
    rows = data.read(
      task,
      split,
      source.lengths,
      source.use_cached,
      None if is_twin else examples,
    )
    right = [row for row in rows if row.get('is_correct', True)]
    if not right:
      raise UserError(
        f'Task {task.name!r} has no right choice in split {split!r}, and what '
        'is right is what is read: choose another split.'
      )
    found[info.dataset if info else task.name] += [
      Example(task, row) for row in right[:examples]
    ]
    bar.advance()
    bar.report()
  bar.close()
  return found


def measure(source: Source, examples: Examples) -> Routing:
  """Runs examples through the model.

  Args:
    source: the model.
    examples: of every data set.

  Raises:
    UserError: if the method has no routers.
  """
  trained, lengths = source.trained, source.lengths
  shapes = Shapes(_BATCH_SIZE, lengths['inputs'], lengths['targets'])
  trained.check_batch(shapes.batch_size)
  compiled = trained.compile(trained.model.routing_batch)
  routing: dict[str, dict[str, Usage]] = defaultdict(dict)
  bar = progress.Progress(len(examples), unit='data set')
  for dataset, members in examples.items():
    usages = routing[dataset]
    for start in range(0, len(members), shapes.batch_size):
      batch = members[start : start + shapes.batch_size]
      for router, usage in _usages(compiled(batch_of(batch, shapes))):
        before = usages.get(router)
        usages[router] = before + usage if before else usage
    bar.advance()
    bar.report()
  bar.close()
  if not any(routing.values()):
    raise UserError(
      f'The method of {trained.facts.checkpoint} has no routers: there is '
      'nothing to report. MoV and MoLoRA route.'
    )
  return routing


def measure_run(
  run: str,
  mixtures: Sequence[str] | None,
  split: str,
  examples: int,
  step: int | None = None,
) -> Routing:
  """Measures a run by its own configuration.

  Args:
    run: see `open_run`, also for `mixtures` and `step`.
    mixtures: see there.
    split: of every task.
    examples: of every task.
    step: see `open_run`.

  Raises:
    UserError: see `open_run`, `read` and `measure`.
  """
  source = open_run(run, mixtures, step)
  say(f'{run}: routing of {len(source.tasks)} tasks, {examples} examples each')
  return measure(source, read(source, split, examples))


def batch_of(
  examples: Sequence[Example], shapes: Shapes
) -> dict[str, np.ndarray]:
  """A batch for the network, padded to shapes."""
  if len({INPUTS_EMBEDDING in x.row for x in examples}) > 1:
    names = sorted({x.task.name for x in examples})
    raise UserError(
      f'Some of {", ".join(names)} have {INPUTS_EMBEDDING!r} and some do not, '
      'though they are of one data set.'
    )
  inputs = [Input.of(x.row) for x in examples]
  targets = [x.row['targets'] for x in examples]
  return {
    **pad_inputs(inputs, shapes.batch_size, shapes.input_length),
    **pad_targets(targets, shapes.batch_size, shapes.target_length),
  }


def _usages(statistics: Tree) -> Iterator[tuple[str, Usage]]:
  """Every router, summed over a batch."""
  for router, sums in by_router(statistics).items():
    totals = (sums[name].sum(0) for name in ('probability', 'weight', 'load'))
    entropy, tokens = (
      float(sums[name].sum()) for name in ('entropy', 'tokens')
    )
    yield router, Usage(*totals, entropy=entropy, tokens=tokens)
