"""The one exception for a user's mistake, and the wording it shares."""

import difflib
from collections.abc import Iterable, Sequence


class UserError(ValueError):
  """A mistake in what the user gave: a flag, a gin binding, a path, a name.

  The message says what was given, what is allowed and what to do. Entry points
  print it alone, without a stack trace, and exit with code 2.
  """


def nearest(name: str, allowed: Iterable[str], most: int = 3) -> str:
  """Returns ' Did you mean ...?' with the nearest allowed names, or ''."""
  close = difflib.get_close_matches(name, list(allowed), n=most, cutoff=0.5)
  if not close:
    return ''
  return ' Did you mean ' + ' or '.join(repr(c) for c in close) + '?'


def some(items: Sequence[str], most: int = 4) -> str:
  """'a, b and 3 more'."""
  more = f' and {len(items) - most} more' if len(items) > most else ''
  return ', '.join(items[:most]) + more
