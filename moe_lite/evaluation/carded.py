"""What a model card says of the evaluations and of the routing of a run."""

import collections
from collections.abc import Sequence
from typing import Any

from etils import epath

from moe_lite.core.errors import UserError
from moe_lite.core.progress import say
from moe_lite.evaluation import comparison, results_file, routing_summary
from moe_lite.evaluation.results import (
  ACCURACY,
  JSON,
  DatasetSummary,
  Evaluation,
)


def evaluations(
  run: str, fingerprint: str, folders: Sequence[str] = ()
) -> list[dict[str, Any]]:
  """Reads what adapters were evaluated to have, for their model card.

  Args:
    run: the folder of their run. Evaluations in its folders are found. Those of
      other adapters are left out, and this is said. Those of the frozen base
      stand beside the evaluations that measured the same.
    fingerprint: of the adapters; see `parameters.fingerprint`.
    folders: evaluations that lie elsewhere.

  Returns:
    For each complete evaluation that ranked choices: where it is, of which
    adapters, the mixture, the split, the number of examples of each task (None
    for all), the average, and for each data set the number of prompts, the
    number of examples of all of them, chance, and the least, the median and the
    greatest accuracy over prompts. `base` has the average and the medians of
    the frozen base, if that was evaluated. Accuracies are in percent.

  Raises:
    UserError: if one of `folders` holds no complete evaluation of the adapters
      or of a base.
  """
  found, bases = [], []
  inside = [x.parent for x in sorted(epath.Path(run).glob(f'*/{JSON}'))]
  for folder in (*inside, *map(epath.Path, folders)):
    path = folder / JSON
    evaluation = results_file.read(path)
    of = evaluation.checkpoint.trainable_fingerprint
    if evaluation.complete and of == fingerprint:
      found.append((folder, evaluation))
    elif evaluation.complete and of is None:
      bases.append((folder, evaluation))
    elif folder in inside:
      say(f'Without {path}: it is not a complete evaluation of these adapters.')
    else:
      raise UserError(
        f'{path} is not a complete evaluation of the adapters in {run}, or of '
        'their base. Evaluate them with `python -m moe_lite.eval`, or leave '
        'this folder out.'
      )
  for folder, base in bases:
    if not any(_is_base_of(base, evaluation) for _, evaluation in found):
      say(
        f'Without {folder / JSON}: it is of a base, and no evaluation of the '
        'adapters measured the same.'
      )
  return [
    _told(str(folder), evaluation, [base for _, base in bases])
    for folder, evaluation in found
    if evaluation.average is not None
  ]


def routing(run: str, fingerprint: str) -> dict[str, Any] | None:
  """Reads what the report of a run found of its routers, for the model card.

  Args:
    run: the folder of the run.
    fingerprint: of its adapters. A report on others is left out, which is said.

  Returns:
    See `routing_summary.read`.

  Raises:
    UserError: see `routing_summary.read`.
  """
  found = routing_summary.read(run)
  if found is not None and found['of'] != fingerprint:
    say(
      f'Without {run}/{routing_summary.FOLDER}: it is of another checkpoint. '
      f'Run `python -m moe_lite.routing_report {run}` again.'
    )
    return None
  return found


def _is_base_of(base: Evaluation, evaluation: Evaluation) -> bool:
  """Whether it is of the base alone, and measured the same."""
  return (
    base.checkpoint.base.fingerprint == evaluation.checkpoint.base.fingerprint
    and comparison.are_comparable(base, evaluation)
  )


def _told(
  folder: str, evaluation: Evaluation, bases: Sequence[Evaluation]
) -> dict[str, Any]:
  average = evaluation.average
  assert average is not None
  examples: collections.Counter[str] = collections.Counter()
  for task in evaluation.tasks:
    examples[task.dataset] += task.examples
  told = {
    'folder': folder,
    'of': evaluation.checkpoint.trainable_fingerprint,
    'mixture': evaluation.settings.mixture_or_task_name,
    'split': evaluation.settings.split,
    'examples': evaluation.settings.num_examples,
    'average': average.median,
    'datasets': {
      x.dataset: {
        'prompts': x.prompts,
        'examples': examples[x.dataset],
        'chance': x.chance,
        'min': x.min,
        'median': x.median,
        'max': x.max,
      }
      for x in _ranked(evaluation)
    },
  }
  for base in bases:
    if base.average is not None and _is_base_of(base, evaluation):
      medians = {x.dataset: x.median for x in _ranked(base)}
      told['base'] = {'average': base.average.median, 'datasets': medians}
  return told


def _ranked(evaluation: Evaluation) -> list[DatasetSummary]:
  return [x for x in evaluation.datasets if x.metric == ACCURACY]
