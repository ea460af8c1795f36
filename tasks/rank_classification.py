"""Rank classification as a SeqIO metric, for evaluators that are not ours.

`moe_lite.evaluation` ranks `_score_eval` tasks itself, and encodes each input
once. Other evaluators, such as T5X's, score row by row and call this.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from moe_lite.inference import ranking
from moe_lite.inference.answers import Answers


def keep_row(
  target: str, example: Mapping[str, Any] | None = None, is_target: bool = False
) -> Any:
  """A `postprocess_fn`: keeps what `accuracy` needs of a row, as its target."""
  if not is_target or example is None:
    return target
  return {key: example[key] for key in ('idx', 'is_correct', 'weight')}


def accuracy(
  targets: Sequence[Mapping[str, Any]], scores: Sequence[float]
) -> dict[str, float]:
  """A `metric_fn` over rows in any order: the accuracy in percent."""
  order = sorted(range(len(targets)), key=lambda i: tuple(targets[i]['idx']))
  column = lambda key: [targets[i][key] for i in order]
  example, choice = np.array(column('idx')).T
  answers = Answers(
    task='rank_classification',
    example=example,
    choice=choice,
    is_correct=np.array(column('is_correct'), bool),
    weight=np.array(column('weight'), float),
  )
  sorted_scores = np.asarray(scores, np.float32)[order]
  return {'accuracy': ranking.accuracy(answers, sorted_scores)}
