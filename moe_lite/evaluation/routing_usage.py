"""How routers treat data sets: what a run's routers sow, summed over each."""

from collections import defaultdict
from collections.abc import Sequence

import seqio

from moe_lite.core import progress
from moe_lite.core.errors import UserError
from moe_lite.core.progress import say
from moe_lite.data import dataset
from moe_lite.evaluation.examples import ExampleReader, Examples, batch_of
from moe_lite.inference.source import ModelSource
from moe_lite.inference.trained import Trained
from moe_lite.routing.statistics import Routing, Usage, usages
from moe_lite.training import configuration

_BATCH_SIZE = 32


def open_run(
  run: str,
  mixtures: Sequence[str] | None,
  step: int | None = None,
  gin_files: Sequence[str] = (),
) -> tuple[Trained, ExampleReader]:
  """Loads a run by its own configuration.

  Args:
    run: the MODEL_DIR of the run.
    mixtures: the mixtures or tasks to read; None takes those of its training.
    step: the step of its checkpoint; None takes the last one.
    gin_files: see `configuration.read_config`.

  Returns:
    The run, and a reader of the tasks.

  Raises:
    UserError: if the run cannot be read, or if there is no such mixture.
  """
  configured = configuration.read_config(run, gin_files)
  data = configured['dataset']
  # A task of two mixtures counts once.
  tasks: dict[str, seqio.Task] = {}
  for name in mixtures or [data.mixture_or_task_name]:
    provider = dataset.find(name)
    parts = [provider] if isinstance(provider, seqio.Task) else provider.tasks
    tasks |= {task.name: task for task in parts}
  trained = ModelSource.of_run(run, configured, step).load()
  reader = ExampleReader(
    list(tasks.values()),
    data.task_feature_lengths,
    data.use_cached,
    trained.tasks,
  )
  return trained, reader


def measure(
  trained: Trained, reader: ExampleReader, examples: Examples
) -> Routing:
  """Runs examples through a model, and sums what its routers sow.

  Args:
    trained: the model.
    reader: what read the examples.
    examples: the examples of every data set.

  Raises:
    UserError: if the method has no routers.
  """
  shapes = reader.shapes(_BATCH_SIZE)
  trained.check_batch(shapes.batch_size)
  compiled = trained.compile(trained.model.routing_batch)
  routing: dict[str, dict[str, Usage]] = defaultdict(dict)
  bar = progress.Progress(len(examples), unit='data set')
  for name, members in examples.items():
    sums = routing[name]
    for start in range(0, len(members), shapes.batch_size):
      batch = members[start : start + shapes.batch_size]
      for router, usage in usages(compiled(batch_of(batch, shapes))).items():
        sums[router] = sums[router] + usage if router in sums else usage
    bar.advance()
    bar.report(name)
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
  count: int,
  step: int | None = None,
  gin_files: Sequence[str] = (),
) -> Routing:
  """Measures a run by its own configuration.

  Args:
    run: see `open_run`.
    mixtures: see `open_run`.
    split: the split of every task.
    count: how many examples of every task are read.
    step: see `open_run`.
    gin_files: see `configuration.read_config`.

  Raises:
    UserError: see `open_run`, `ExampleReader.read` and `measure`.
  """
  trained, reader = open_run(run, mixtures, step, gin_files)
  say(f'{run}: routing of {len(reader.tasks)} tasks, {count} examples each')
  return measure(trained, reader, reader.read(split, count))
