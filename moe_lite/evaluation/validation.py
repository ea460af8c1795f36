"""A run measured while it trains: the loss of targets, and ranked choices.

Every example of a task with answer choices is ranked, as by `evaluation`, and
its right choice is its target. The parameters are those that train and the
base under them, so that nothing is copied. What is compiled for the first
validation serves all others.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import seqio
from jax.sharding import Mesh

from moe_lite.core import partitioning
from moe_lite.core.errors import UserError, some
from moe_lite.core.types import Tree
from moe_lite.data import catalog, dataset
from moe_lite.data.task_ids import numbers_for
from moe_lite.evaluation.measuring import has_choices
from moe_lite.evaluation.rows import first_examples, tasks_with
from moe_lite.inference import answers, ranking, scoring
from moe_lite.inference.padding import Input, Shapes
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.training.validating import Measure


@dataclasses.dataclass(frozen=True)
class Validation:
  """What to measure while a run trains, and how often.

  Attributes:
    mixture_or_task_name: what is measured; None measures nothing.
    period: how many steps lie between two validations.
    examples: how many examples of each task are measured; None takes all.
    split: the split of the tasks.
    batch_size: how many inputs are encoded at once.
    use_cached: whether tasks are read from their caches.
    choose_by_held_out: whether checkpoints may be chosen by data sets that are
      held out. The accuracy that is reported for them is then no longer that of
      data which nothing was fitted to.
  """

  mixture_or_task_name: str | None = None
  period: int = 1000
  examples: int | None = 100
  split: str = 'validation'
  batch_size: int = 32
  use_cached: bool = False
  choose_by_held_out: bool = False

  def prepare(
    self,
    model: EncoderDecoderModel,
    lengths: Mapping[str, int],
    best_by: str | None,
    known: Mapping[str, Any] | None = None,
  ) -> Callable[[Mesh], Measure] | None:
    """Reads the rows; see `training.validating.Validation`.

    Raises:
      UserError: if there are no such rows, if the routers do not know a task,
        or if checkpoints cannot be chosen by them.
    """
    name = self.mixture_or_task_name
    if name is None:
      if best_by is not None:
        raise UserError(
          f'BEST_BY = {best_by!r} needs EVAL_MIXTURE, which says what is '
          'measured.'
        )
      return None
    provider = dataset.find(name)
    dataset.check_split(provider, self.split, self.use_cached)
    vocab_size = model.module.config.vocab_size
    dataset.check_vocabulary(provider, vocab_size)
    tasks = tasks_with(provider, self.split)
    self._check_held_out(tasks, best_by)
    numbers = numbers_for(provider, known)
    read = [
      (
        task.name,
        first_examples(
          dataset.read(
            task,
            split=self.split,
            lengths=lengths,
            use_cached=self.use_cached,
            vocab_size=vocab_size,
            number=numbers.get(task.name),
          ),
          self.examples,
        ),
      )
      for task in tasks
    ]
    sets = [_Task.of(task, rows) for task, rows in read]
    if best_by == 'accuracy' and not any(x.answers for x in sets):
      raise UserError(
        f"BEST_BY = 'accuracy', but no task of EVAL_MIXTURE = {name!r} has "
        "answer choices: give a `_score_eval` task or mixture, or 'loss'."
      )
    longest = lengths['inputs'], lengths['targets']
    return lambda mesh: _measure(sets, model, mesh, self.batch_size, longest)

  def _check_held_out(
    self, tasks: Sequence[seqio.Task], best_by: str | None
  ) -> None:
    if best_by is None or self.choose_by_held_out:
      return
    known = {task.name: catalog.lookup(task.name) for task in tasks}
    held = sorted(name for name, x in known.items() if x and x.held_out)
    if held:
      raise UserError(
        f'BEST_BY = {best_by!r} chooses by EVAL_MIXTURE, and of that '
        f'{some(held)} are held out for evaluation: what is chosen by them '
        'cannot be reported for them. Give data sets that are trained on, or '
        '--gin.CHOOSE_BY_HELD_OUT=True.'
      )


def _measure(
  tasks: Sequence['_Task'],
  model: EncoderDecoderModel,
  mesh: Mesh,
  batch_size: int,
  longest: tuple[int, int],
) -> Measure:
  """Makes what measures tasks; it compiles when it is first called."""
  parts = mesh.shape['data']
  size = -(-batch_size // parts) * parts
  shapes = Shapes(size, *longest, parts=parts)
  encode = _on_mesh(model.encode, mesh, gather=False)
  score = _on_mesh(model.score_choices, mesh, gather=True)

  def measure(params: Tree) -> dict[str, float]:
    found = [
      task.measure(
        functools.partial(encode, params),
        functools.partial(score, params),
        shapes,
      )
      for task in tasks
    ]
    return _summary(tasks, found)

  return measure


@dataclasses.dataclass(frozen=True)
class _Task:
  """The rows of a task.

  Attributes:
    name: the name of the task.
    choices: every input, with the targets to score for it.
    targets: for each target that counts in the loss, the index of its input,
      its index among the targets of that input, and the number of its tokens.
    answers: the rows as answer choices; None if the task has none.
  """

  name: str
  choices: Sequence[scoring.Choices]
  targets: Sequence[tuple[int, int, int]]
  answers: answers.Rows | None

  @classmethod
  def of(cls, name: str, rows: Sequence[Mapping[str, Any]]) -> '_Task':
    if has_choices(rows[0]):
      found = answers.collect(name, rows)
      right = [
        (*place, len(target))
        for place, target, is_right in zip(
          found.places, found.targets, found.answers.is_correct, strict=True
        )
        if is_right
      ]
      return cls(name, found.choices, right, found)
    choices = [
      scoring.Choices(Input.of(row), [np.asarray(row['targets'], np.int32)])
      for row in rows
    ]
    targets = [(i, 0, len(x.targets[0])) for i, x in enumerate(choices)]
    return cls(name, choices, targets, None)

  def measure(
    self,
    encode: scoring.Encode,
    score_choices: scoring.ScoreChoices,
    shapes: Shapes,
  ) -> tuple[float, int, float | None]:
    """Returns the summed loss, its tokens, and the accuracy if there is one."""
    shapes = shapes.for_examples(len(self.choices))
    scores = scoring.score(self.choices, encode, score_choices, shapes)
    loss = -sum(float(scores[i][j]) for i, j, _ in self.targets)
    if not math.isfinite(loss):
      raise UserError(
        f'The validation of {self.name!r} gives a loss of {loss}: the '
        'activations overflow. Try --gin.ACTIVATION_DTYPE="\'float32\'", or '
        'leave the task out of EVAL_MIXTURE.'
      )
    tokens = sum(count for _, _, count in self.targets)
    if self.answers is None:
      return loss, tokens, None
    flat = np.array([scores[i][j] for i, j in self.answers.places], np.float32)
    return loss, tokens, ranking.accuracy(self.answers.answers, flat)


def _summary(
  tasks: Sequence[_Task], found: Sequence[tuple[float, int, float | None]]
) -> dict[str, float]:
  """The loss of a token, the mean accuracy of data sets, and that of tasks."""
  loss, tokens = sum(x[0] for x in found), sum(x[1] for x in found)
  summary = {'loss': loss / max(tokens, 1)}
  by_set: dict[str, list[float]] = {}
  for task, (_, _, accuracy) in zip(tasks, found, strict=True):
    if accuracy is None:
      continue
    info = catalog.lookup(task.name)
    by_set.setdefault(info.dataset if info else task.name, []).append(accuracy)
  if by_set:
    # As in the table of an evaluation: the median over the prompts of a data
    # set, and the mean over data sets.
    medians = {name: float(np.median(x)) for name, x in by_set.items()}
    summary['accuracy'] = float(np.mean(list(medians.values())))
    if len(medians) > 1:
      summary |= {f'accuracy/{name}': x for name, x in medians.items()}
  return summary


def _on_mesh(
  function: Callable[..., Any], mesh: Mesh, gather: bool
) -> Callable[..., Any]:
  """Compiles a function of parameters and of arrays that are split by rows."""
  split = partitioning.batch_sharding(mesh)
  whole = partitioning.replicated(mesh)
  jitted = jax.jit(function, out_shardings=whole if gather else split)

  def call(params: Tree, *arrays: Any) -> Any:
    place = lambda x: partitioning.put(x, split)
    placed = jax.tree.map(
      lambda x: place(x) if isinstance(x, np.ndarray) else x, arrays
    )
    with partitioning.axis_rules(mesh):
      return jitted(params, *placed)

  return call
