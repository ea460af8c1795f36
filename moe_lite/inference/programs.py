"""What is compiled for the models of one method."""

from typing import Any

from moe_lite.inference.generation import Generator
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
