"""The exception for a user's mistakes, and phrases for its messages."""

import difflib
from collections.abc import Iterable, Sequence


class UserError(ValueError):
  """The user made a mistake in a flag, a gin binding, a path or a name.

  The message says what was given, what is allowed and what to do. Entry points
  print the message without a stack trace.

  Attributes:
    exit_code: the code with which entry points then exit.
  """

  exit_code = 2


class Damaged(UserError):
  """What is read is not what was written, or is not finite."""


def nearest(name: str, allowed: Iterable[str], most: int = 3) -> str:
  """Returns ' Did you mean ...?' with the allowed names nearest to `name`.

  Args:
    name: the name that was given.
    allowed: the names that would be right.
    most: how many names to suggest at most.

  Returns:
    A sentence that begins with a space, to be appended to a message. It is
    empty if no allowed name is near.
  """
  close = difflib.get_close_matches(name, list(allowed), n=most, cutoff=0.5)
  if not close:
    return ''
  return ' Did you mean ' + ' or '.join(repr(c) for c in close) + '?'


def some(items: Sequence[str], most: int = 4) -> str:
  """Returns the first `most` items and the number of others.

  An example is 'a, b and 3 more'.
  """
  more = f' and {len(items) - most} more' if len(items) > most else ''
  return ', '.join(items[:most]) + more
