"""What a loaded model says of its adapters."""

import dataclasses
from collections.abc import Mapping
from typing import Self

from moe_lite.inference.facts import Facts
from moe_lite.inference.trained import Trained


@dataclasses.dataclass(frozen=True)
class AdapterInfo:
  """What adapters are.

  Attributes:
    method: their classes, such as 'MoV' or 'IA3, LoRA'; 'full fine-tuning'
      where every parameter was trained.
    sites: the site of each adapter, such as 'key', to its class and fields.
    num_experts: the number of experts at each site that routes.
    trainable_parameters: the number of parameters that were trained.
    percent: the same in percent of the parameters of the base.
    base: the base that they were trained on, as it was named then.
    source: where they were read from.
    step: the step of the run that trained them; None if nothing says it.
  """

  method: str
  sites: Mapping[str, str]
  num_experts: Mapping[str, int]
  trainable_parameters: int
  percent: float
  base: str
  source: str
  step: int | None

  @classmethod
  def of(cls, trained: Trained) -> Self:
    """Describes the adapters of a model."""
    facts, standing = trained.facts, trained.model.module.config.standing()
    names = dict.fromkeys(type(x).__name__ for x in standing.values())
    experts = {x: getattr(y, 'num_experts', None) for x, y in standing.items()}
    return cls(
      method=', '.join(names) or 'full fine-tuning',
      sites={x: facts.method[x] for x in standing if x in facts.method},
      num_experts={x: count for x, count in experts.items() if count},
      trainable_parameters=facts.trainable_parameters,
      percent=100 * facts.trainable_parameters / facts.base_parameters,
      base=facts.base.source,
      source=facts.checkpoint,
      step=facts.step,
    )

  def __str__(self) -> str:
    """One line, such as 'MoV with 10 experts at key, value; ...'."""
    counts = sorted(set(self.num_experts.values()))
    experts = f' with {" or ".join(map(str, counts))} experts' if counts else ''
    sites = f' at {", ".join(self.sites)}' if self.sites else ''
    step = '' if self.step is None else f', step {self.step:,}'
    return (
      f'{self.method}{experts}{sites}; {self.trainable_parameters:,} '
      f'parameters ({self.percent:.3g} % of the base); from {self.source}{step}'
    )


def overview(
  facts: Facts, infos: Mapping[str, AdapterInfo], which: object
) -> str:
  """Lists a base and its adapters, one a line.

  Args:
    facts: what the model with the adapters in use is.
    infos: the adapters of each name.
    which: the name of those in use, a mapping of names to weights, or None.
  """
  lines = [f'base: {facts.base.source}, {facts.base_parameters:,} parameters']
  for name, info in infos.items():
    mark = ' (in use)' if name == which else ''
    lines.append(f'adapters {name!r}{mark}: {info}')
  if not infos:
    lines.append('no adapters')
  elif not isinstance(which, str):
    lines.append(f'in use: {facts.checkpoint if which else "the base alone"}')
  return 'TextModel(\n  ' + '\n  '.join(lines) + '\n)'
