"""The whole report of a run: measured, drawn, and put on a page."""

import csv
import io
from collections.abc import Callable, Sequence

import jax
import numpy as np
from etils import epath

from moe_lite.core import parameters
from moe_lite.core.errors import UserError, some
from moe_lite.core.files import replace_text
from moe_lite.core.progress import say
from moe_lite.data import catalog
from moe_lite.evaluation import routing_usage
from moe_lite.evaluation.routing_usage import Routing
from moe_lite.inference.token_routing import heatmaps
from moe_lite.routing_report import experts, figures, numbers, page, sentences

PAGE = 'index.html'
FOLDER = 'routing'
SENTENCES = 'sentences.csv'
_PREFERENCE = 'probability, times the number of experts'


class Report:
  """A folder that pictures and their numbers are written to."""

  def __init__(self, folder: str):
    self._folder = epath.Path(folder)
    self._folder.mkdir(parents=True, exist_ok=True)
    self.pictures: list[page.Picture] = []
    self.notes: list[str] = []

  def add(
    self,
    name: str,
    title: str,
    text: str,
    rows: Sequence[numbers.Row],
    draw: Callable[[epath.Path], None],
  ) -> None:
    """Writes NAME.csv and NAME.png, and puts them on the page."""
    picture = page.Picture(
      title, text, self._folder / f'{name}.png', self._folder / f'{name}.csv'
    )
    self.spreadsheet(picture.csv.name, rows)
    draw(picture.png)
    self.pictures.append(picture)

  def spreadsheet(self, name: str, rows: Sequence[numbers.Row]) -> None:
    """Writes rows of equal columns."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    replace_text(self._folder / name, text.getvalue())

  def finish(self, html: str) -> None:
    """Writes the page, last."""
    replace_text(self._folder / PAGE, html)


def write(
  run: str,
  mixtures: Sequence[str] | None = None,
  split: str = 'validation',
  examples: int = 64,
  routers: str | None = None,
  most_sentences: int = 6,
  folder: str | None = None,
) -> None:
  """Measures a run, and writes what its routers do.

  Args:
    run: its MODEL_DIR.
    mixtures: or tasks, to read; those of its training by default.
    split: of every task.
    examples: of every task.
    routers: which to look at closely; see `numbers.choose`.
    most_sentences: to colour, each of another data set.
    folder: to write to; RUN/routing by default.

  Raises:
    UserError: see `routing_usage.open_run`, `read`, `measure`, and
      `numbers.choose`.
  """
  source = routing_usage.open_run(run, mixtures)
  say(f'{run}: routing of {len(source.tasks)} tasks, {examples} examples each')
  read = routing_usage.read(source, split, examples)
  routing = routing_usage.measure(source, read)
  there = next(iter(routing.values()))
  chosen = numbers.choose(there, routers)
  if not chosen:
    raise UserError(
      f'--routers={routers} fits no router. There is {some(sorted(there))}.'
    )
  folder = folder or str(epath.Path(run) / FOLDER)
  written = Report(folder)
  add_data_sets(written, routing, chosen)
  adapters, _ = parameters.split(
    source.trained.params, parameters.TRAINABLE_ADAPTERS
  )
  add_experts(
    written,
    experts.similarities(
      source.trained.model.module.config,
      parameters.unstack_layers(jax.device_get(adapters)),
      routers,
    ),
  )
  routed = sentences.route(source, read, most_sentences)
  if routed:
    written.spreadsheet(SENTENCES, sentences.rows(routed, chosen))
  facts = source.trained.facts
  written.finish(
    page.render(
      f'Routing of {run}',
      [
        ('step', str(facts['step'])),
        ('base', facts['base']['source']),
        *sorted(facts['method'].items()),
        ('examples', f'{examples} of every task, split {split}'),
        ('data sets', f'{len(read)}, of {len(source.tasks)} tasks'),
      ],
      written.pictures,
      written.notes,
      routed,
      chosen,
      SENTENCES,
    )
  )
  say(f'Written to {folder}: open {PAGE}. Its pictures and numbers lie beside.')


def add_data_sets(
  written: Report, routing: Routing, chosen: Sequence[str]
) -> None:
  """Adds what follows from how data sets are routed."""
  held_out = _held_out(routing)
  label = lambda name: f'{name} (held out)' if name in held_out else name
  training = [name for name in routing if name not in held_out]
  written.add(
    'usage',
    'Which experts serve which data sets',
    'Mean router probability of every expert over the tokens of a data set, '
    'times the number of experts: 1, white, is what no preference gives.',
    numbers.usage(routing),
    lambda png: heatmaps(
      {_title(x): numbers.preferences(routing, x) for x in chosen},
      [label(name) for name in routing],
      'expert',
      _PREFERENCE,
      png,
    ),
  )
  rows = numbers.entropies(routing, held_out)
  groups = {
    'training': lambda row: not row['held_out'],
    'held out': lambda row: row['held_out'],
  }
  columns = (('of_tokens', 'tokens', '-'), ('of_the_mean', 'mean', '--'))
  written.add(
    'entropy',
    'How sure routers are, by depth',
    'Entropy in shares of the most there can be: of the probabilities of a '
    'token, and of their mean over a data set. Where tokens are far below the '
    'mean, experts specialise; where both are near 1, routing makes no '
    'difference; where both are low, few experts are used at all.',
    rows,
    lambda png: figures.by_depth(
      rows,
      {
        f'{group}, {name}': (column, fits, f'{form}o{colour}')
        for (group, fits), colour in zip(groups.items(), 'br', strict=True)
        for column, name, form in columns
      },
      'entropy / log(experts)',
      png,
    ),
  )
  if len(routing) > 1:
    names, divergences, tree = numbers.similarities(routing)
    written.add(
      'datasets',
      'Which data sets are routed alike',
      'Jensen-Shannon divergence of the mean probabilities of two data sets, '
      'averaged over all routers, and the tree of their clusters (average '
      'linkage).',
      [
        {'dataset': name, 'other': other, 'divergence': divergences[i, j]}
        for i, name in enumerate(names)
        for j, other in enumerate(names)
      ],
      lambda png: figures.clusters(
        [label(name) for name in names], divergences, tree, png
      ),
    )
  if not (held_out and training):
    missing = 'training' if held_out else 'held-out'
    written.notes.append(
      f'No {missing} data sets were read, so held-out and training ones are '
      'not compared: give --mixture both mixtures.'
    )
    return
  moved = numbers.shifts(routing, training, held_out)
  lines = {'held out': ('held_out', 'or-'), 'training': ('training', 'ob-')}
  written.add(
    'shift',
    'Held-out against training data sets',
    'Jensen-Shannon divergence of a held-out data set from the mean over '
    'training data sets, and of a training data set from the mean of the '
    'others: where the first is far above the second, unseen tasks use the '
    'experts in another way.',
    moved,
    lambda png: figures.by_depth(
      moved,
      {
        name: (column, lambda row: True, form)
        for name, (column, form) in lines.items()
      },
      'divergence (bits)',
      png,
    ),
  )


def add_experts(written: Report, found: dict[str, np.ndarray]) -> None:
  """Adds what follows from experts' parameters."""
  if not found:
    written.notes.append('No adapter that was chosen compares its experts.')
    return
  experts_of = max(len(x) for x in found.values())
  written.add(
    'experts',
    'Which experts do the same',
    'Cosine of what two experts add to the frozen base. Where all are near 1, '
    'one expert would do.',
    experts.rows(found),
    lambda png: heatmaps(
      {_title(router): cosines for router, cosines in found.items()},
      [str(e) for e in range(experts_of)],
      'expert',
      'cosine',
      png,
      scale=(-1.0, 0.0, 1.0),
    ),
  )


def _held_out(routing: Routing) -> list[str]:
  known = {info.dataset for info in catalog.tasks() if info.held_out}
  return [dataset for dataset in routing if dataset in known]


def _title(router: str) -> str:
  """'encoder/layers_1/mlp/intermediate' on two lines."""
  place, layer = numbers.place_of(router)
  return f'{place.stack}, layer {layer}\n{place.site}'
