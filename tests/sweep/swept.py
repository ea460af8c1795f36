"""Rows of sweeps that never ran, for tests of what is made of them."""

from moe_lite.sweep.intervals import estimate
from moe_lite.sweep.rows import Row, Swept
from tests.evaluation import outcomes


def row(name, trained, values, **changes):
  average = estimate(values)
  return Row(
    **{
      'variant': name,
      'is_trained': trained > 0,
      'trainable_parameters': trained,
      'base_parameters': 1000,
      'share': trained / 10,
      'wanted': len(values),
      'seeds': list(range(len(values))),
      'choice': {},
      'average': average,
      'columns': {'who': average},
      'chance': 50.0,
      'evaluation_seconds': 2.0,
      **changes,
    }
  )


def swept(rows, **changes):
  return Swept(
    **{
      'complete': True,
      'confidence': 0.95,
      'settings': outcomes.settings(),
      'rows': rows,
      'search': [],
      'failed': {},
      'runs': [],
      **changes,
    }
  )
