"""Which experts serve which tasks, in numbers and in a picture.

The picture is that of the paper's study of specialisation (Zadouri et al.,
arXiv 2309.05444): mean router probability by task and expert.
"""

import csv
import dataclasses
import io
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import seqio
from etils import epath

from moe_lite import (
  data,
  loaded,
  plots,
  progress,
  run_folder,
  token_routing,
)
from moe_lite.errors import UserError
from moe_lite.progress import say
from moe_lite.shapes import Shapes, pad
from moe_lite.types import Array, Tree
from tasks import catalog

CSV = 'routing.csv'
PNG = 'routing.png'
_BATCH_SIZE = 32


@dataclasses.dataclass
class Usage:
  """How one router treated the tokens of one data set, summed over them.

  Attributes:
    probability: [E], of each expert.
    weight: [E], with which it takes part in the mixture.
    load: [E], tokens whose mixture the expert takes part in.
    tokens: how many there were.
  """

  probability: np.ndarray
  weight: np.ndarray
  load: np.ndarray
  tokens: float

  def __add__(self, other: 'Usage') -> 'Usage':
    return Usage(
      self.probability + other.probability,
      self.weight + other.weight,
      self.load + other.load,
      self.tokens + other.tokens,
    )


# Data set to router ('encoder/layers_1/attention/key') to its usage.
Routing = Mapping[str, Mapping[str, Usage]]


def measure(
  trained: loaded.Loaded,
  tasks: Sequence[seqio.Task],
  split: str,
  lengths: Mapping[str, int],
  examples: int,
  use_cached: bool = False,
) -> Routing:
  """Runs the first examples of every task through the model.

  Args:
    trained: the run.
    tasks: to read; of a `_score_eval` twin the right choices are read.
    split: of each.
    lengths: {'inputs': L, 'targets': T}; longer ones are trimmed.
    examples: of each task.
    use_cached: read what `seqio_cache_tasks` wrote.

  Raises:
    UserError: if the method has no routers, or a task lacks the split.
  """
  shapes = Shapes(_BATCH_SIZE, lengths['inputs'], lengths['targets'])
  trained.check_batch(shapes.batch_size)

  def statistics(
    params: Tree, inputs: Array, shifted: Array, targets: Array
  ) -> Tree:
    batch = {
      'encoder_input_tokens': inputs,
      'decoder_input_tokens': shifted,
      'decoder_target_tokens': targets,
    }
    return trained.model.routing_batch(params, batch)

  compiled = trained.compile(statistics)
  routing: dict[str, dict[str, Usage]] = defaultdict(dict)
  bar = progress.Progress(len(tasks), unit='task')
  for task in tasks:
    info = catalog.lookup(task.name)
    usages = routing[info.dataset if info else task.name]
    rows = _examples(task, split, lengths, examples, use_cached)
    for start in range(0, len(rows), shapes.batch_size):
      batch = rows[start : start + shapes.batch_size]
      inputs, targets = (
        pad([row[name] for row in batch], shapes.batch_size, lengths[name])
        for name in ('inputs', 'targets')
      )
      shifted = np.pad(targets, ((0, 0), (1, 0)))[:, :-1]
      for router, usage in _usages(compiled(inputs, shifted, targets)):
        before = usages.get(router)
        usages[router] = before + usage if before else usage
    bar.advance()
    bar.report()
  bar.close()
  if not any(routing.values()):
    raise UserError(
      f'The method of {trained.facts["checkpoint"]} has no routers: there is '
      'nothing to report. MoV and MoLoRA route.'
    )
  return routing


def rows_of(routing: Routing) -> Iterator[dict[str, str | float]]:
  """The lines of routing.csv."""
  for dataset, usages in routing.items():
    for router, usage in sorted(usages.items()):
      for expert in range(len(usage.probability)):
        yield {
          'dataset': dataset,
          'router': router,
          'expert': expert,
          'probability': usage.probability[expert] / usage.tokens,
          'load': usage.load[expert] / usage.tokens,
          'tokens': usage.tokens,
        }


def panels(routing: Routing) -> dict[str, np.ndarray]:
  """For the last layer's routers: probability times E, [data sets, E].

  One is what an expert gets where routing makes no difference.
  """
  last: dict[str, tuple[int, str]] = {}
  for router in next(iter(routing.values())):
    place, layer = re.sub(r'layers_\d+/', '', router), _layer(router)
    last[place] = max(last.get(place, (layer, router)), (layer, router))
  return {
    router: np.stack(
      [
        len(usages[router].probability)
        * usages[router].probability
        / usages[router].tokens
        for usages in routing.values()
      ]
    )
    for _, router in sorted(
      last.values(), key=lambda x: (not x[1].startswith('encoder'), x[1])
    )
  }


def write(folder: str, routing: Routing) -> None:
  """Writes the numbers and the picture."""
  target = epath.Path(folder)
  target.mkdir(parents=True, exist_ok=True)
  text = io.StringIO()
  lines = list(rows_of(routing))
  writer = csv.DictWriter(text, fieldnames=list(lines[0]))
  writer.writeheader()
  writer.writerows(lines)
  run_folder.replace_text(target / CSV, text.getvalue())
  plots.heatmaps(
    {_title(router): values for router, values in panels(routing).items()},
    [_label(dataset) for dataset in routing],
    'expert',
    'probability, times the number of experts',
    target / PNG,
  )


def _title(router: str) -> str:
  """'encoder/layers_1/mlp/intermediate' on two lines."""
  stack, layer, place = router.split('/', 2)
  return f'{stack}/{layer}\n{place}'


def _label(dataset: str) -> str:
  held_out = {i.dataset for i in catalog.tasks() if i.held_out}
  return f'{dataset} (held out)' if dataset in held_out else dataset


def _layer(router: str) -> int:
  match = re.search(r'layers_(\d+)/', router)
  return int(match[1]) if match else 0


def _examples(
  task: seqio.Task,
  split: str,
  lengths: Mapping[str, int],
  most: int,
  use_cached: bool,
) -> Sequence[Mapping[str, np.ndarray]]:
  data.check_split(task, split, use_cached)
  is_twin = task.name.endswith(catalog.SCORE_EVAL)
  rows = data.read(task, split, lengths, use_cached, None if is_twin else most)
  return [row for row in rows if row.get('is_correct', True)][:most]


def _usages(statistics: Tree) -> Iterator[tuple[str, Usage]]:
  """Every router, summed over a batch."""
  for router, sums in token_routing.by_router(statistics).items():
    yield router, _sum(sums)


def _sum(sums: Mapping[str, np.ndarray]) -> Usage:
  totals = (sums[name].sum(0) for name in ('probability', 'weight', 'load'))
  return Usage(*totals, tokens=float(sums['tokens'].sum()))


def measure_run(
  run: str,
  mixtures: Sequence[str] | None,
  split: str,
  examples: int,
  step: int | None = None,
) -> Routing:
  """Measures a run by its own configuration.

  Args:
    run: its MODEL_DIR.
    mixtures: or tasks; those of its training by default.
    split: of every task.
    examples: of every task.
    step: of its checkpoint; the last by default.

  Raises:
    UserError: if the run cannot be read, and see `measure`.
  """
  config = run_folder.read_config(run)
  dataset = config['dataset']
  tasks = []
  for name in mixtures or [dataset.mixture_or_task_name]:
    provider = data.find(name)
    tasks += [provider] if isinstance(provider, seqio.Task) else provider.tasks
  trained = loaded.load(
    config['model'],
    run,
    config['initial_checkpoint_path'],
    config['trainable'],
    config['base_dtype'],
    config.get('mesh'),
    step,
    config.get('fully_sharded', False),
  )
  say(f'{run}: routing of {len(tasks)} tasks, {examples} examples each')
  return measure(
    trained,
    tasks,
    split,
    dataset.task_feature_lengths,
    examples,
    dataset.use_cached,
  )


def report(
  run: str,
  mixtures: Sequence[str] | None,
  split: str,
  examples: int,
  folder: str | None,
) -> None:
  """Measures a run, and writes the numbers and the picture.

  Args:
    run: see `measure_run`, also for the others.
    mixtures: see there.
    split: see there.
    examples: see there.
    folder: to write to; the run's by default.

  Raises:
    UserError: see `measure_run`.
  """
  routing = measure_run(run, mixtures, split, examples)
  write(folder or run, routing)
  say(f'Written to {folder or run}: {CSV}, {PNG}.')
