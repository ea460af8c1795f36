"""Reports how far a loop is: a bar on a terminal, plain lines elsewhere.

All commands report in this way. Where nobody watches, as in a log file, a line
appears at most every `PERIOD` seconds. Training alone writes a line whenever
its macro LOG_PERIOD says so.
"""

import sys
import time

import jax
import tqdm

# How many seconds lie between two lines of a log file, at least.
PERIOD = 10.0


def say(*lines: str) -> None:
  """Prints lines to standard error, on the first process alone.

  The lines appear above a progress bar and leave it whole.
  """
  if jax.process_index() == 0:
    for line in lines:
      tqdm.tqdm.write(line, file=sys.stderr)
    sys.stderr.flush()


class Progress:
  """Reports how many steps are done, their speed and the time left.

  On a terminal, one line is rewritten in place. In a log file, `report` adds a
  line if the last one is old enough, and at the end.
  """

  def __init__(
    self, total: int, done: int = 0, period: float = PERIOD, unit: str = 'step'
  ):
    """Starts the clock.

    Args:
      total: how many steps there are.
      done: how many of them were done before.
      period: how many seconds lie between two lines of a log file, at least.
      unit: the name of a step.
    """
    self._total = total
    self._first = self._done = done
    self._start = time.monotonic()
    self._period = period
    self._next = self._start
    self._unit = unit
    self._bar = None
    if sys.stderr.isatty() and jax.process_index() == 0:
      self._bar = tqdm.tqdm(
        total=total, initial=done, unit=unit, dynamic_ncols=True
      )

  def advance(self, count: int = 1) -> None:
    """Counts steps as done."""
    self._done += count
    if self._bar is not None:
      self._bar.update(count)

  def report(self, what: str = '', **values: float) -> None:
    """Shows values, such as the loss, next to the progress.

    Args:
      what: what was done last, such as the name of a task.
      **values: the values by their names.
    """
    shown = {name: f'{value:.4g}' for name, value in values.items()}
    if self._bar is not None:
      self._bar.set_description_str(what, refresh=False)
      self._bar.set_postfix(shown)
      return
    now = time.monotonic()
    if now < self._next and self._done < self._total:
      return
    self._next = now + self._period
    rate = (now - self._start) / max(self._done - self._first, 1)
    said = [what] if what else []
    said += [f'{name} {value}' for name, value in shown.items()]
    text = ' '.join(said)
    left = duration(rate * (self._total - self._done))
    say(
      f'{self._unit} {self._done}/{self._total}  {text}  '
      f'{rate:.3g} s/{self._unit}  {left} left'
    )

  def close(self) -> None:
    """Leaves the bar as it is and ends its line."""
    if self._bar is not None:
      self._bar.close()


def duration(seconds: float) -> str:
  """Returns a time in words, such as '2 h 05 min', '3 min 10 s' or '12 s'."""
  seconds = round(seconds)
  if seconds >= 3600:
    return f'{seconds // 3600} h {seconds % 3600 // 60:02d} min'
  if seconds >= 60:
    return f'{seconds // 60} min {seconds % 60:02d} s'
  return f'{seconds} s'
