"""The stages that led to adapters: what each trained, on what, and how long.

A run that begins with other adapters (INITIAL_ADAPTERS) is the next stage after
theirs. Its checkpoints, exports and cards carry the whole chain, so that it can
be told when the earlier runs are gone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from moe_lite.checkpoints.description import Description

Stage = Mapping[str, Any]


def after(
  source: str, description: Description, fingerprint: str
) -> list[dict[str, Any]]:
  """The stages before a run that begins with some adapters.

  Args:
    source: where they are from, as the user named it.
    description: what they say of themselves.
    fingerprint: of the adapters' leaves.
  """
  earlier = [dict(stage) for stage in description.stages or ()]
  return [*earlier, stage_of(source, description, fingerprint)]


def stage_of(
  source: str, description: Description, fingerprint: str | None
) -> dict[str, Any]:
  """One stage, for JSON.

  Args:
    source: where its adapters are.
    description: what they say of themselves.
    fingerprint: of the adapters' leaves; None where they are the run's own.
  """
  training = description.training or {}
  data = description.data or {}
  stage = {
    'source': source,
    'method': dict(description.method.sites),
    'trainable': description.method.trainable,
    'steps': description.step or training.get('steps'),
    'data': data.get('mixture_or_task_name') or training.get('data'),
    'batch_size': data.get('batch_size') or training.get('batch size'),
    'seed': data.get('seed'),
    'rates': (description.settings or {}).get('SCHEDULE and LEARNING_RATE'),
    'fingerprint': fingerprint,
  }
  return {name: value for name, value in stage.items() if value is not None}


def told(stages: Sequence[Stage] | None) -> dict[str, str]:
  """Tells each stage in a line: 'stage 1' to what it was, and so on."""
  return {
    f'stage {number}': _line(stage)
    for number, stage in enumerate(stages or (), 1)
  }


def _line(stage: Stage) -> str:
  kinds = sorted({what.partition('(')[0] for what in stage['method'].values()})
  steps, data = stage.get('steps'), stage.get('data')
  rate = stage.get('rates', {}).get('100')
  parts = [
    ' and '.join(kinds) or 'no adapters',
    None if steps is None else f'{steps:,} steps',
    data and f'on {data}',
    None if rate is None else f'at a rate of {rate:g}',
  ]
  trained = f'{stage["source"]}, where {stage["trainable"]} trained'
  return f'{", ".join(part for part in parts if part)} ({trained})'
