"""The accuracy of static experts, against their number."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import seqio

from moe_lite.checkpoints import exported, library
from moe_lite.core import tables
from moe_lite.core.progress import say
from moe_lite.data import catalog, dataset
from moe_lite.evaluation import routing_usage
from moe_lite.evaluation.examples import Example, ExampleReader
from moe_lite.evaluation.results import TaskResult
from moe_lite.evaluation.routed_run import RoutedRun, average
from moe_lite.evaluation.rows import tasks_with
from moe_lite.evaluation.summaries import Summary, summarize
from moe_lite.library.usage_clusters import Clusters

# In the folder of the library: what was evaluated, and the one expert that the
# run collapses to, if there are more in the library.
EVALUATIONS = 'evaluations'
ONE = 'one'
_ROUTED = 'routed'


@dataclasses.dataclass(frozen=True)
class Accuracy:
  """What was measured.

  Attributes:
    mixture: what was evaluated.
    split: its split.
    selected: data set to the expert that was selected for it.
    placed: those data sets whose expert was chosen by their inputs, because the
      selector does not know them.
    routed: the accuracy of the routed run.
    static: number of experts to their accuracy.
  """

  mixture: str
  split: str
  selected: Mapping[str, str]
  placed: Sequence[str]
  routed: Summary
  static: Mapping[int, Summary]

  def report(self) -> dict[str, Any]:
    """The averages, for JSON."""
    return {
      'mixture': self.mixture,
      'split': self.split,
      'selected': dict(self.selected),
      'placed_by_inputs': list(self.placed),
      'routed': dataclasses.asdict(average(self.routed)),
      'experts': {
        str(k): dataclasses.asdict(average(x)) for k, x in self.static.items()
      },
    }

  def table(self) -> str:
    """A row for each data set, and a column for each number of experts."""
    found = [self.routed, *self.static.values()]
    header = ['data set', 'expert', 'routed']
    header += [f'K = {k}' for k in self.static]
    medians = [{x.dataset: x.median for x in of.datasets} for of in found]
    rows = [
      [name, self._said(name), *(f'{of[name]:.2f}' for of in medians)]
      for name in medians[0]
    ]
    means = [f'{average(x).median:.2f}' for x in found]
    return tables.table(header, [*rows, ['average', '', *means]])

  def _said(self, name: str) -> str:
    return self.selected[name] + ' (by its inputs)' * (name in self.placed)


def measure(
  routed: RoutedRun,
  clusters: Clusters,
  path: str,
  mixture: str,
  split: str,
  examples: int,
  gin_files: Sequence[str] = (),
) -> Accuracy:
  """Evaluates a routed run, its static experts, and the one it collapses to.

  Each data set is evaluated under the expert of its cluster. For one that was
  not clustered, the nearest cluster is chosen by how its inputs use the experts
  of the run; see `Clusters.nearest`.

  Args:
    routed: the run.
    clusters: its clusters.
    path: the library with an expert for each of them.
    mixture: a mixture of tasks with answer choices.
    split: the split of every task.
    examples: how many examples of each task are read to choose an expert.
    gin_files: see `configuration.read_config`.

  Raises:
    UserError: if something cannot be evaluated.
  """
  by_set: dict[str, list[seqio.Task]] = {}
  for task in tasks_with(dataset.find(mixture), split):
    by_set.setdefault(_data_set(task), []).append(task)
  experts = clusters.experts
  others = {x: tasks for x, tasks in by_set.items() if x not in experts}
  if others:
    say(f'The experts of {", ".join(others)} are chosen by their inputs.')
    trained, reader = routing_usage.open_run(
      routed.run, [mixture], routed.step, gin_files
    )
    read = {
      name: _read(dataclasses.replace(reader, tasks=of), split, examples)
      for name, of in others.items()
    }
    usage = routing_usage.measure(trained, reader, read)
    del trained  # Evaluations load the run again.
    experts |= clusters.nearest(usage)
  selected = {name: experts[name] for name in by_set}
  into = f'{path}/{EVALUATIONS}'
  before = routed.evaluate(f'{into}/{_ROUTED}', mixture, split)
  tasks: list[TaskResult] = []
  for expert in sorted(set(selected.values())):
    names = [
      task.name
      for name, of in by_set.items()
      if selected[name] == expert
      for task in of
    ]
    tasks += routed.evaluate_fixed(
      library.folder_of(path, expert),
      f'{into}/{expert}',
      '+'.join(names),
      split,
    ).tasks
  static = {len(clusters.members): summarize(tasks)}
  if len(clusters.members) > 1:
    one = _one(routed, clusters, path)
    found = routed.evaluate_fixed(one, f'{into}/{ONE}', mixture, split)
    static = {1: summarize(found.tasks), **static}
  return Accuracy(
    mixture, split, selected, list(others), summarize(before.tasks), static
  )


def _one(routed: RoutedRun, clusters: Clusters, path: str) -> str:
  """Writes what `collapse` would make of the run; returns its folder."""
  handed = routed.fixed(
    clusters.weights(list(clusters.routing)), ', '.join(clusters.routing)
  )
  exported.save(
    f'{path}/{ONE}',
    handed.leaves,
    handed.description,
    handed.training,
    handed.vocabulary,
    handed.text,
  )
  return f'{path}/{ONE}'


def _read(reader: ExampleReader, split: str, count: int) -> list[Example]:
  """Reads examples of all tasks of one data set."""
  return [x for of in reader.read(split, count).values() for x in of]


def _data_set(task: seqio.Task) -> str:
  """The data set of a task, named as in results."""
  info = catalog.lookup(task.name)
  return info.dataset if info else task.name.removesuffix(catalog.SCORE_EVAL)
