"""What is written of each input: predictions, scores, or both."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import seqio

from moe_lite.core.errors import UserError
from moe_lite.inference import scoring
from moe_lite.inference.generation import Generator, ended
from moe_lite.inference.inputs import Example
from moe_lite.inference.padding import Shapes
from moe_lite.inference.scoring import Choices
from moe_lite.inference.trained import Trained

# What a line says: a prediction, without its log-probability or with it, or the
# log-probability of the target. The names are T5X's.
PREDICT, WITH_SCORES, SCORE = 'predict', 'predict_with_aux', 'score'
Line = dict[str, Any]


class Predict:
  """Makes the lines of examples, batch after batch."""

  def __init__(
    self,
    trained: Trained,
    shapes: Shapes,
    decode_fn: Callable[..., Any],
    num_decodes: int,
    seed: int,
    mode: str,
    vocabulary: seqio.Vocabulary,
  ):
    """Prepares; see `predictions.infer`, also for the arguments.

    Args:
      trained: the model.
      shapes: the shapes to pad to.
      decode_fn: see there.
      num_decodes: see there.
      seed: see there.
      mode: see there.
      vocabulary: what makes texts of ids.
    """
    self._mode, self._vocabulary, self._shapes = mode, vocabulary, shapes
    self._checkpoint = trained.facts.checkpoint
    self._encode = trained.compile(trained.model.encode, gather=False)
    self._score_choices = trained.compile(trained.model.score_choices)
    if mode != SCORE:
      self._generator = Generator(
        trained, shapes, decode_fn, num_decodes, seed, all_decodes=True
      )

  def __call__(
    self, examples: Sequence[Example], done: int
  ) -> Iterator[list[Line]]:
    """Yields the lines of each batch, behind the first `done` examples."""
    size = self._shapes.batch_size
    left = examples[done:]
    if self._mode == SCORE:
      for batch in _batched(left, size):
        scores = self._score(batch, [[x.targets] for x in batch])
        yield [
          {**x.text, 'score': row[0]}
          for x, row in zip(batch, scores, strict=True)
        ]
      return
    outputs = self._generator((x.inputs for x in left), done // size)
    for batch, ids in zip(_batched(left, size), outputs, strict=True):
      lines = [
        self._line(x, of_one) for x, of_one in zip(batch, ids, strict=True)
      ]
      if self._mode == WITH_SCORES:
        length = self._shapes.target_length
        whole = [[ended(x, length) for x in of_one] for of_one in ids]
        for line, scores in zip(lines, self._score(batch, whole), strict=True):
          line['scores'] = scores
      yield lines

  def _line(self, example: Example, ids: Sequence[np.ndarray]) -> Line:
    texts = [self._vocabulary.decode([int(i) for i in x]) for x in ids]
    line = {**example.text, 'prediction': texts[0]}
    return line if len(texts) == 1 else {**line, 'predictions': texts}

  def _score(
    self, batch: Sequence[Example], texts: Sequence[Sequence[Any]]
  ) -> list[list[float]]:
    """The log-probabilities of some texts of each example."""
    choices = [
      Choices(x.inputs, [np.asarray(ids) for ids in of_one])
      for x, of_one in zip(batch, texts, strict=True)
    ]
    scores = scoring.score(
      choices, self._encode, self._score_choices, self._shapes
    )
    if not all(np.isfinite(row).all() for row in scores):
      raise UserError(
        f'Scores of {self._checkpoint} are not finite. It diverged, or the '
        'activations overflow: try another checkpoint, or '
        '--gin.ACTIVATION_DTYPE="\'float32\'".'
      )
    return [[float(f'{x:.9g}') for x in row] for row in scores]


def _batched(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
  for start in range(0, len(items), size):
    yield items[start : start + size]
