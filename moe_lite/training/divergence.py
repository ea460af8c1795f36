"""Ends a run whose numbers are no longer finite."""

from collections.abc import Mapping

from moe_lite.core.errors import UserError

# The metrics that tell whether a step is finite. A step whose update leaves the
# range of float32 may still have a finite loss and gradient.
WATCHED = ('loss', 'grad_norm', 'update_norm')


class Diverged(UserError):
  """A loss, a gradient or an update is NaN or infinite.

  Nothing is saved from that step on.
  """

  exit_code = 4


def diverged(
  step: int,
  train_steps: int,
  found: Mapping[str, float],
  model_dir: str,
  saved: int | None,
) -> Diverged:
  """Returns the error that ends a run.

  Args:
    step: the number of the first step that is not finite, from 1.
    train_steps: how many steps the run should have.
    found: the metrics `WATCHED` of this step, and its learning rate.
    model_dir: the folder of the run.
    saved: the step of the last checkpoint, 0 for the beginning, or None if
      there is none.
  """
  values = ', '.join(f'{name} {found[name]:.4g}' for name in WATCHED)
  if saved is None:
    kept = f'No checkpoint was saved in {model_dir} before that.'
  elif saved == 0:
    kept = (
      f'Step 0 is saved in {model_dir}: the base, with adapters as they began.'
    )
  else:
    kept = (
      f'Step {saved} is the last one that is saved in {model_dir}, and can be '
      'evaluated. The same command would go on from there, and most likely '
      'diverge again.'
    )
  return Diverged(
    f'Training stopped, because step {step} of {train_steps} is not finite: '
    f'{values}, at learning rate {found["learning_rate"]:.4g}. {kept} Try a '
    'smaller LEARNING_RATE, a SCHEDULE with WARMUP_STEPS, or '
    "ACTIVATION_DTYPE = 'float32', in a new MODEL_DIR."
  )
