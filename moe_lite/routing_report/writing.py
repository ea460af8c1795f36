"""The whole report of a run: measured, drawn, and put on a page.

`write` goes from a run to the page. `numbers` and `experts` make the rows of
each picture, `figures` and `heatmaps` draw it, `verdicts` says in a word what
each router does, and `page` shows all.
"""

from collections.abc import Callable, Collection, Sequence

import jax
from etils import epath

from moe_lite.core import parameters, pictures
from moe_lite.core.errors import UserError, some
from moe_lite.core.files import replace_text
from moe_lite.core.progress import say
from moe_lite.data import catalog
from moe_lite.evaluation import routing_summary, routing_usage
from moe_lite.evaluation.examples import ExampleReader, Examples
from moe_lite.inference import heatmaps
from moe_lite.inference.trained import Trained
from moe_lite.routing.statistics import Routing
from moe_lite.routing_report import (
  experts,
  figures,
  numbers,
  page,
  sentences,
  verdicts,
)
from moe_lite.routing_report.figures import Line
from moe_lite.routing_report.places import choose, place_of
from moe_lite.routing_report.rows import Row, write_csv

PAGE = 'index.html'
SENTENCES = 'sentences.csv'
ROUTERS = 'routers.csv'


class Report:
  """A folder that pictures and their numbers are written to.

  Attributes:
    folder: the folder.
    run: the run, as titles call it.
    scope: which routers are looked at closely, in words.
    pictures: the pictures that were added.
    notes: what could not be shown, and why.
  """

  def __init__(self, folder: str, run: str, scope: str):
    self.folder = epath.Path(folder)
    self.run, self.scope = pictures.title_of(run), scope
    self.folder.mkdir(parents=True, exist_ok=True)
    self.pictures: list[page.Picture] = []
    self.notes: list[str] = []

  def add(
    self,
    name: str,
    rows: Sequence[Row],
    draw: Callable[[epath.Path], None],
    said: str = '',
  ) -> None:
    """Writes NAME.csv and NAME.png, and puts them on the page.

    Args:
      name: the name of the picture, one of `page.CAPTIONS`.
      rows: its numbers.
      draw: draws it into a file.
      said: what is to be said of this run's picture below its caption.
    """
    png, csv = self.folder / f'{name}.png', self.folder / f'{name}.csv'
    write_csv(csv, rows)
    draw(png)
    self.pictures.append(page.Picture(name, png, csv, said))


def write(
  run: str,
  mixtures: Sequence[str] | None = None,
  split: str = 'validation',
  examples: int = 64,
  routers: str | None = None,
  most_sentences: int = 6,
  folder: str | None = None,
  gin_files: Sequence[str] = (),
) -> None:
  """Measures a run, and writes what its routers do.

  Args:
    run: the MODEL_DIR of the run.
    mixtures: the mixtures or tasks to read; None takes those of its training.
    split: the split of every task.
    examples: how many examples of every task are read.
    routers: which routers to look at closely; see `places.choose`.
    most_sentences: how many sentences to colour at most, each of another data
      set.
    folder: the folder to write to; None takes RUN/routing.
    gin_files: see `configuration.read_config`.

  Raises:
    UserError: see `routing_usage.measure_run` and `places.choose`.
  """
  trained, reader = routing_usage.open_run(run, mixtures, gin_files=gin_files)
  say(f'{run}: routing of {len(reader.tasks)} tasks, {examples} examples each')
  read = reader.read(split, examples)
  routing, noise = _measure(trained, reader, read)
  chosen = _choose(routing, routers)
  held_out = _held_out(routing)
  report = Report(
    folder or str(epath.Path(run) / routing_summary.FOLDER),
    run,
    _scope(chosen, routers),
  )
  judged = verdicts.judge(routing)
  write_csv(report.folder / ROUTERS, judged)
  routing_summary.write(
    report.folder,
    routing_summary.RoutingSummary(
      of=trained.facts.trainable_fingerprint,
      datasets=list(read),
      tasks=len(reader.tasks),
      split=split,
      examples=examples,
      headline=verdicts.headline(judged),
    ),
  )
  _add_usage(report, routing, held_out, chosen)
  _add_entropy(report, routing, held_out)
  _add_similarities(report, routing, held_out, noise)
  _add_shift(report, routing, held_out, noise)
  _add_experts(report, trained, routers)
  routed = sentences.route(trained, reader, read, most_sentences)
  if routed:
    write_csv(report.folder / SENTENCES, sentences.rows(routed, chosen))
  facts = [
    ('step', str(trained.facts.step)),
    ('base', trained.facts.base.source),
    *sorted(trained.facts.method.items()),
    ('examples', f'{examples} of every task, split {split}'),
    ('data sets', f'{len(read)}, of {len(reader.tasks)} tasks'),
  ]
  html = page.render(
    f'Routing of {run}',
    facts,
    report.pictures,
    report.notes,
    judged,
    ROUTERS,
    routed,
    chosen,
    report.scope,
    SENTENCES,
  )
  replace_text(report.folder / PAGE, html)
  say(
    f'Written to {report.folder}: open {PAGE}. Its pictures and numbers lie '
    'beside it.'
  )


def _measure(
  trained: Trained, reader: ExampleReader, read: Examples
) -> tuple[Routing, numbers.Noise]:
  """Measures the two halves of the examples of every data set.

  Returns:
    The routing of both halves together, and how much they differ.
  """
  halves = [
    {name: part for name, members in read.items() if (part := members[i::2])}
    for i in range(2)
  ]
  measured = [
    routing_usage.measure(trained, reader, half) for half in halves if half
  ]
  return numbers.together(measured), numbers.noise(measured)


def _scope(chosen: Sequence[str], pattern: str | None) -> str:
  """Which routers are looked at closely, in words."""
  if pattern is None:
    return 'routers of the last layer of each place'
  return f'{len(chosen)} routers that match {pattern}'


def _choose(routing: Routing, pattern: str | None) -> list[str]:
  """The routers to look at closely, of which there must be one."""
  there = next(iter(routing.values()))
  chosen = choose(there, pattern)
  if not chosen:
    raise UserError(
      f'--routers={pattern} fits no router. There is {some(sorted(there))}.'
    )
  return chosen


def _held_out(routing: Routing) -> list[str]:
  known = {info.dataset for info in catalog.tasks() if info.held_out}
  return [dataset for dataset in routing if dataset in known]


def _add_usage(
  report: Report,
  routing: Routing,
  held_out: Collection[str],
  chosen: Sequence[str],
) -> None:
  report.add(
    'usage',
    numbers.usage(routing),
    lambda png: heatmaps.draw(
      {_title(x): numbers.preferences(routing, x) for x in chosen},
      [_label(name, held_out) for name in routing],
      'expert',
      'mean probability, times the number of experts',
      png,
      title=f'{report.run}: {report.scope}',
    ),
    said=f'Shown: {report.scope}.',
  )


def _add_entropy(
  report: Report, routing: Routing, held_out: Collection[str]
) -> None:
  rows = numbers.entropies(routing, held_out)
  trains, is_held_out = (
    lambda row: not row['held_out'],
    lambda row: bool(row['held_out']),
  )
  lines = [
    Line('a token, training data sets', 'of_tokens', 'training', trains),
    Line('a token, held-out data sets', 'of_tokens', 'held out', is_held_out),
    Line('mean, training data sets', 'of_the_mean', 'training, mean', trains),
    Line(
      'mean, held-out data sets', 'of_the_mean', 'held out, mean', is_held_out
    ),
  ]
  report.add(
    'entropy',
    rows,
    lambda png: figures.by_depth(
      rows,
      lines,
      'entropy, as a share of log(experts)\n0: one expert, 1: all alike',
      png,
      f'{report.run}: all routers, by layer',
    ),
  )


def _add_similarities(
  report: Report,
  routing: Routing,
  held_out: Collection[str],
  noise: numbers.Noise,
) -> None:
  """Adds which data sets are routed alike, where there are several."""
  if len(routing) == 1:
    return
  names, divergences, tree = numbers.similarities(routing, noise)
  labels = [_label(name, held_out) for name in names]
  report.add(
    'datasets',
    numbers.pairs(names, divergences),
    lambda png: figures.clusters(
      labels, divergences, tree, png, f'{report.run}: mean over all routers'
    ),
  )


def _add_shift(
  report: Report,
  routing: Routing,
  held_out: Sequence[str],
  noise: numbers.Noise,
) -> None:
  """Adds held-out against training data sets, where there are both."""
  training = [name for name in routing if name not in held_out]
  if not (held_out and training):
    missing = 'training' if held_out else 'held-out'
    report.notes.append(
      f'No {missing} data sets were read, so held-out and training ones are '
      'not compared: give --mixture both mixtures.'
    )
    return
  rows = numbers.shifts(routing, training, held_out, noise)
  lines = [
    Line('training data sets', 'training', 'training'),
    Line('held-out data sets', 'held_out', 'held out'),
    Line('noise: two halves of one data set', 'noise', 'noise'),
  ]
  report.add(
    'shift',
    rows,
    lambda png: figures.by_depth(
      rows,
      lines,
      'divergence, bits (the most is 1)',
      png,
      f'{report.run}: all routers, by layer',
      is_divergence=True,
    ),
  )


def _add_experts(report: Report, trained: Trained, routers: str | None) -> None:
  """Adds which experts do the same, by their parameters."""
  adapters, _ = parameters.split(trained.params, parameters.TRAINABLE_ADAPTERS)
  found = experts.similarities(
    trained.model.module.config,
    parameters.unstack_layers(jax.device_get(adapters)),
    routers,
  )
  if not found:
    report.notes.append('No adapter that was chosen compares its experts.')
    return
  most = max(len(cosines) for cosines in found.values())
  report.add(
    'experts',
    experts.rows(found),
    lambda png: heatmaps.draw(
      {_title(router): cosines for router, cosines in found.items()},
      [f'expert {expert}' for expert in range(most)],
      'expert',
      'cosine',
      png,
      heatmaps.COSINES,
      f'{report.run}: {report.scope}',
    ),
    said=f'Shown: experts of the {report.scope}.',
  )


def _label(dataset: str, held_out: Collection[str]) -> str:
  return f'{dataset} (held out)' if dataset in held_out else dataset


def _title(router: str) -> str:
  """The name of a router on two lines, for a picture."""
  place, layer = place_of(router)
  return f'{place.stack}, layer {layer}\n{place.site}'
