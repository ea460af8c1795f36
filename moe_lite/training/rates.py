"""Whether a learning rate can change anything in the steps that it has."""

import jax
import jax.numpy as jnp

from moe_lite.training.optimizers import Schedule

# Rates that sum to less than this over a run hardly change a parameter.
_LEAST = 0.1


def reach(schedule: Schedule, train_steps: int) -> float:
  """Returns the sum of the rates of all steps.

  With Adafactor, this is how far a parameter can move at most, relative to its
  size. With AdamW, it is about how far each number can move, and numbers of
  (IA)³ and MoV are about one.

  Args:
    schedule: maps the number of a step to a learning rate.
    train_steps: how many steps the run has.
  """
  rates = jax.vmap(lambda step: jnp.float32(schedule(step)))
  return float(jax.jit(lambda: rates(jnp.arange(train_steps)).sum())())


def warning(schedule: Schedule, train_steps: int) -> str | None:
  """Returns a warning if the rates are too small to train anything."""
  sum_of_rates = reach(schedule, train_steps)
  if sum_of_rates >= _LEAST:
    return None
  return (
    f'LEARNING_RATE is small for TRAIN_STEPS = {train_steps}: the rates of all '
    f'steps sum to {sum_of_rates:.2g}. With Adafactor, a parameter moves by at '
    'most that share of its size, so that the run hardly differs from its '
    'beginning. Search for a rate: python -m moe_lite.sweep ablations/rate.gin'
  )
