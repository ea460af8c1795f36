"""What the training loop asks of a validation, and what it does with it."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from jax.sharding import Mesh

from moe_lite.core.errors import UserError
from moe_lite.core.types import Tree
from moe_lite.models.model import EncoderDecoderModel

# What a run may keep its best checkpoints by, and whether more is better.
METRICS = {'loss': False, 'accuracy': True}
# From all parameters to the metrics of a validation.
Measure = Callable[[Tree], Mapping[str, float]]
# A line of `validation.jsonl`: 'step', and the metrics of a validation.
Line = Mapping[str, Any]


class Validation(Protocol):
  """Measures a run while it trains; see `evaluation.validation`."""

  period: int

  def prepare(
    self,
    model: EncoderDecoderModel,
    lengths: Mapping[str, int],
    best_by: str | None,
    known: Mapping[str, Any] | None = None,
  ) -> Callable[[Mesh], Measure] | None:
    """Reads the rows; returns what makes a measure for a mesh.

    The result is None if nothing is measured.

    Args:
      model: the model.
      lengths: how many tokens inputs and targets may have.
      best_by: the metric that checkpoints are chosen by, if any.
      known: the tasks that the routers know; see `Description.tasks`. None if
        no router reads the task.
    """
    ...


@dataclasses.dataclass(frozen=True)
class Choosing:
  """How a run chooses among its checkpoints.

  Attributes:
    best_by: one of `METRICS`; None chooses by nothing.
    patience: after how many validations without a better one a run ends; None
      never ends it before its last step.
  """

  best_by: str | None = None
  patience: int | None = None

  def __post_init__(self):
    if self.best_by is not None and self.best_by not in METRICS:
      raise UserError(
        f'BEST_BY = {self.best_by!r} must be one of '
        f'{", ".join(map(repr, METRICS))}, or None.'
      )
    if self.patience is not None and self.best_by is None:
      raise UserError(
        f'PATIENCE = {self.patience!r} needs BEST_BY, the metric that has to '
        'become better.'
      )

  def best(self, lines: Sequence[Line]) -> Line | None:
    """Returns the best line of `validation.jsonl`, the first of equals.

    The line of the beginning does not count, because it has no checkpoint.
    """
    name = self.best_by
    lines = [line for line in lines if line['step']]
    if name is None or not lines:
      return None
    choose = max if METRICS[name] else min
    return choose(lines, key=lambda line: line[name])

  def best_step(self, lines: Sequence[Line]) -> int | None:
    """Returns the step of the best line."""
    best = self.best(lines)
    return None if best is None else best['step']

  def is_over(self, lines: Sequence[Line]) -> bool:
    """Whether so many validations were not better that the run ends."""
    best = self.best(lines)
    if best is None or self.patience is None:
      return False
    since = sum(line['step'] > best['step'] for line in lines)
    return since >= self.patience

  def result(self, lines: Sequence[Line]) -> str | None:
    """Says which checkpoint is the best, and how it is named."""
    best = self.best(lines)
    if best is None or self.best_by is None:
      return None
    return (
      f'The best {self.best_by} of validation is {best[self.best_by]:.4g}, at '
      f'step {best["step"]} (--gin.CHECKPOINT_STEP={best["step"]}).'
    )
