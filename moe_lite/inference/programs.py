"""What is compiled for the models of one method."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from moe_lite.core.errors import UserError
from moe_lite.inference import scoring
from moe_lite.inference.generation import Generator
from moe_lite.inference.padding import Shapes
from moe_lite.inference.scoring import Choices
from moe_lite.inference.trained import Trained


class Programs:
  """What is compiled for the models of one method.

  Attributes:
    trained: the model whose parameters are used.
  """

  def __init__(self, trained: Trained):
    """Compiles nothing yet."""
    self.trained, model = trained, trained.model
    self.encode = trained.compile(model.encode, gather=False)
    self.score_choices = trained.compile(model.score_choices)
    self.routing = trained.compile(model.routing_tokens)
    # A generator compiles anew, so that each is kept under its options.
    self.generators: dict[Any, Generator] = {}

  def score(
    self, choices: Sequence[Choices], shapes: Shapes
  ) -> list[np.ndarray]:
    """Scores all targets of all inputs; see `scoring.score`.

    Raises:
      UserError: if a log-probability is not finite.
    """
    scores = scoring.score(choices, self.encode, self.score_choices, shapes)
    if not all(np.isfinite(x).all() for x in scores):
      raise UserError(
        'Some scores are not finite. The checkpoint diverged, or the '
        'activations overflow: give load() another checkpoint, or '
        "dtype='float32'."
      )
    return scores
