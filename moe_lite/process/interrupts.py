"""Ctrl-C and SIGTERM: a training run stops after a step, and saves it."""

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Any

import jax

from moe_lite.core.progress import say


class Interrupted(KeyboardInterrupt):
  """Ctrl-C or SIGTERM, after everything was saved.

  Attributes:
    exit_code: 128 + the signal's number, as shells have it.
  """

  def __init__(self, message: str, signal_number: int):
    super().__init__(message)
    self.exit_code = 128 + signal_number


@contextlib.contextmanager
def catch_signals() -> Iterator[list[int]]:
  """Collects the first SIGINT or SIGTERM; a second SIGINT ends at once.

  A step donates its state, so an exception in the middle of one would leave
  nothing to save.
  """
  caught: list[int] = []
  # Many processes must stop at one step. JAX listens for SIGTERM then, and has
  # them agree; see `Checkpoints.reached_preemption`.
  is_alone = jax.process_count() == 1
  numbers = [signal.SIGINT, *([signal.SIGTERM] if is_alone else [])]
  asked: list[int] = []

  def catch(number: int, frame: Any) -> None:
    if asked:
      raise KeyboardInterrupt
    asked.append(number)
    say('Stopping after this step, then saving. Again to stop at once.')
    if is_alone:
      caught.append(number)
    else:
      os.kill(os.getpid(), signal.SIGTERM)

  try:
    previous = {n: signal.signal(n, catch) for n in numbers}
  except ValueError:  # Not the main thread, which alone may set handlers.
    yield caught
    return
  try:
    yield caught
  finally:
    for number, handler in previous.items():
      signal.signal(number, handler)
