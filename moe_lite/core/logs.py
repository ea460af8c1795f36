"""What libraries log by way of absl."""

import contextlib
from collections.abc import Iterator

from absl import logging


@contextlib.contextmanager
def verbosity(level: int) -> Iterator[None]:
  """Logs only what is at least as severe as `level` within the block."""
  before = logging.get_verbosity()
  logging.set_verbosity(level)
  try:
    yield
  finally:
    logging.set_verbosity(before)
