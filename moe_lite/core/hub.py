"""Calls to the Hugging Face Hub: the client, retries and error messages.

The client library resumes downloads that were cut short. When the hub is busy,
it waits and tries again. This module tries again after other failures that may
pass: those of the hub itself, and of connections to it. An error that remains
becomes a UserError.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from moe_lite.core.errors import UserError

if TYPE_CHECKING:
  from huggingface_hub import HfApi

_T = TypeVar('_T')

# How long to wait before each new attempt, in seconds.
_WAITS = (1, 5, 30)


def client() -> 'HfApi':
  """Returns the library's client for the hub."""
  import huggingface_hub

  return huggingface_hub.HfApi(endpoint=endpoint())


def endpoint() -> str | None:
  """Returns the address of the hub; None means the library's default."""
  # The library reads this variable when it is imported. That may be long ago.
  return os.environ.get('HF_ENDPOINT')


def patiently(call: Callable[[], _T], is_first: bool = False) -> _T:
  """Returns what `call` returns, and repeats it after failures that may pass.

  Args:
    call: the function to call. It may be called four times.
    is_first: whether this is the first call to the hub. If the hub cannot be
      reached then, this machine is probably offline, and nothing is repeated.
  """
  for wait in (*_WAITS, None):
    try:
      return call()
    except Exception as error:
      if wait is None or not _may_pass(error):
        raise
      if is_first and is_of_network(error):
        raise
    time.sleep(wait)
  raise AssertionError('The loop returns or raises.')


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
  """Turns an error of the client library within the block into a UserError.

  Args:
    what: what failed. The message begins with it.
  """
  try:
    yield
  except UserError:
    raise  # It says what failed already.
  except Exception as error:
    if is_of_network(error):
      what += ', because the hub cannot be reached'
    elif not isinstance(error, OSError | RuntimeError):
      raise  # The client library does not raise such errors.
    cause = error.__cause__ or error
    text = str(cause).strip().partition('\n')[0]
    raise UserError(f'{what}: {text or type(cause).__name__}') from error


def is_of_network(error: BaseException) -> bool:
  """Returns whether the hub did not answer at all.

  An answer that refuses what was asked does not count.
  """
  cause = error.__cause__ or error
  # The client chooses its HTTP library, so this package does not import it.
  is_http = type(cause).__module__.startswith(('httpx', 'httpcore'))
  return is_http and not hasattr(cause, 'response')


def _may_pass(error: Exception) -> bool:
  """Returns whether it may help to repeat a call that the client gave up."""
  from huggingface_hub import errors

  if isinstance(error, errors.HfHubHTTPError):
    return error.response.status_code >= 500
  # The client of the hub's storage for large files raises a RuntimeError for
  # every failure.
  return is_of_network(error) or isinstance(error, RuntimeError)
