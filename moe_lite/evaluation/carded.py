"""What a model card says of the evaluations of a run."""

from collections.abc import Sequence
from typing import Any

from etils import epath

from moe_lite.core.errors import UserError
from moe_lite.core.progress import say
from moe_lite.evaluation import results_file
from moe_lite.evaluation.results import ACCURACY, JSON, Evaluation


def evaluations(
  run: str, fingerprint: str, folders: Sequence[str] = ()
) -> list[dict[str, Any]]:
  """Reads what adapters were evaluated to have, for their model card.

  Args:
    run: the folder of their run. Evaluations in its folders are found. Those of
      other steps are left out, and this is said.
    fingerprint: of the adapters; see `parameters.fingerprint`.
    folders: evaluations that lie elsewhere.

  Returns:
    For each complete evaluation that ranked choices: where it is, of which
    adapters, the mixture, the split, the number of examples of each task (None
    for all), the average, and for each data set the number of prompts, chance,
    and the least, the median and the greatest accuracy over prompts. Accuracies
    are in percent.

  Raises:
    UserError: if one of `folders` holds no complete evaluation of the adapters.
  """
  found = []
  for path in sorted(epath.Path(run).glob(f'*/{JSON}')):
    evaluation = results_file.read(path)
    if _is_of(evaluation, fingerprint):
      found.append((path.parent, evaluation))
    else:
      say(f'Without {path}: it is not a complete evaluation of these adapters.')
  for folder in folders:
    path = epath.Path(folder) / JSON
    evaluation = results_file.read(path)
    if not _is_of(evaluation, fingerprint):
      raise UserError(
        f'{path} is not a complete evaluation of the adapters in {run}. '
        'Evaluate them with `python -m moe_lite.eval`, or leave this folder '
        'out.'
      )
    found.append((path.parent, evaluation))
  return [
    _told(str(folder), evaluation)
    for folder, evaluation in found
    if evaluation.average is not None
  ]


def _is_of(evaluation: Evaluation, fingerprint: str) -> bool:
  facts = evaluation.checkpoint
  return evaluation.complete and facts.trainable_fingerprint == fingerprint


def _told(folder: str, evaluation: Evaluation) -> dict[str, Any]:
  assert evaluation.average is not None
  return {
    'folder': folder,
    'of': evaluation.checkpoint.trainable_fingerprint,
    'mixture': evaluation.settings.mixture_or_task_name,
    'split': evaluation.settings.split,
    'examples': evaluation.settings.num_examples,
    'average': evaluation.average.median,
    'datasets': {
      x.dataset: {
        'prompts': x.prompts,
        'chance': x.chance,
        'min': x.min,
        'median': x.median,
        'max': x.max,
      }
      for x in evaluation.datasets
      if x.metric == ACCURACY
    },
  }
