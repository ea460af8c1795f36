"""What results, predictions and reports say of the checkpoint behind them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from moe_lite.checkpoints.description import BaseInfo


@dataclasses.dataclass(frozen=True)
class Facts:
  """What a checkpoint is.

  Attributes:
    checkpoint: the path that the user gave, or 'base' for the base alone.
    step: the step that the checkpoint was saved at; None for the base alone.
    base: the base under the trained parameters.
    method: the adapter at each site, such as {'key': 'IA3()'}. It is empty for
      full fine-tuning and for the base alone.
    trainable_parameters: the number of parameters that were trained.
    base_parameters: the number of parameters of the base.
    trainable_fingerprint: tells two runs that used the same folder apart; None
      where nothing was trained. See `parameters.fingerprint`.
    stages: the stages before the run's own, in words; see `stages.told`. None
      if there are none.
  """

  checkpoint: str
  step: int | None
  base: BaseInfo
  method: Mapping[str, str]
  trainable_parameters: int
  base_parameters: int
  trainable_fingerprint: str | None
  stages: Mapping[str, str] | None = None

  @classmethod
  def from_json(cls, content: Mapping[str, Any]) -> 'Facts':
    """Reads what `to_json` gave."""
    return cls(**{**content, 'base': BaseInfo(**content['base'])})

  def to_json(self) -> dict[str, Any]:
    """The facts as values that JSON can hold, without stages if none were."""
    said = dataclasses.asdict(self)
    if self.stages is None:
      del said['stages']
    return said
