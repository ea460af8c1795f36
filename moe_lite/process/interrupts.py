"""Lets a training run stop after a step, and save it, on Ctrl-C or SIGTERM."""

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Any

import jax

from moe_lite.core.progress import say


class Interrupted(KeyboardInterrupt):
  """A run was stopped by Ctrl-C or SIGTERM, and everything is saved.

  Attributes:
    exit_code: 128 plus the number of the signal, as shells count.
  """

  def __init__(self, message: str, signal_number: int):
    """Creates the exception.

    Args:
      message: what to tell the user.
      signal_number: the number of the signal that stopped the run.
    """
    super().__init__(message)
    self.exit_code = 128 + signal_number


@contextlib.contextmanager
def catch_signals() -> Iterator[list[int]]:
  """Notes a signal within the block, so that a loop can stop between steps.

  A step donates its state. If a signal raised an exception in the middle of a
  step, nothing would be left to save. A second signal raises KeyboardInterrupt
  at once.

  Yields:
    A list that receives the number of the first SIGINT or SIGTERM. It stays
    empty in a run of many processes; see `Checkpoints.reached_preemption`.
  """
  caught: list[int] = []
  # Many processes must stop at the same step. JAX listens for SIGTERM in such a
  # run, and makes the processes agree on a step.
  is_alone = jax.process_count() == 1
  numbers = [signal.SIGINT, *([signal.SIGTERM] if is_alone else [])]
  asked: list[int] = []

  def catch(number: int, frame: Any) -> None:
    if asked:
      raise KeyboardInterrupt
    asked.append(number)
    say(
      'The run stops after this step, and saves it. Press Ctrl-C again to stop '
      'at once.'
    )
    if is_alone:
      caught.append(number)
    else:
      os.kill(os.getpid(), signal.SIGTERM)

  try:
    previous = {n: signal.signal(n, catch) for n in numbers}
  except ValueError:  # Only the main thread may set handlers.
    yield caught
    return
  try:
    yield caught
  finally:
    for number, handler in previous.items():
      signal.signal(number, handler)
