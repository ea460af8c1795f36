"""The Hugging Face Hub: where it is, and what is said when it fails.

The client library resumes what was cut short, and waits and tries again where
the hub is busy. This tries again after failures of the hub and of connections;
what is raised in the end becomes a UserError.
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

# Before trying again, in seconds.
_WAITS = (1, 5, 30)


def client() -> 'HfApi':
  """The library's client."""
  import huggingface_hub

  return huggingface_hub.HfApi(endpoint=endpoint())


def endpoint() -> str | None:
  """Where the hub is; None for the library's default."""
  # The library asks for it when it is imported, which may be long ago.
  return os.environ.get('HF_ENDPOINT')


def patiently(call: Callable[[], _T]) -> _T:
  """What `call` returns, which is tried again where that may help."""
  for wait in (*_WAITS, None):
    try:
      return call()
    except Exception as error:
      if wait is None or not _may_pass(error):
        raise
    time.sleep(wait)
  raise AssertionError('The loop returns or raises.')


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
  """Raises what the library raises as a UserError that begins with `what`."""
  try:
    yield
  except Exception as error:
    if is_of_network(error):
      what += ', as the hub cannot be reached'
    elif not isinstance(error, OSError | RuntimeError):
      raise  # None of the client's own.
    cause = error.__cause__ or error
    text = str(cause).strip().partition('\n')[0]
    raise UserError(f'{what}: {text or type(cause).__name__}') from error


def is_of_network(error: BaseException) -> bool:
  """Whether there was no answer, rather than one that says no."""
  cause = error.__cause__ or error
  # Of the client's HTTP library, which is not ours to name.
  is_http = type(cause).__module__.startswith(('httpx', 'httpcore'))
  return is_http and not hasattr(cause, 'response')


def _may_pass(error: Exception) -> bool:
  """Whether to try again what the client did not."""
  from huggingface_hub import errors

  if isinstance(error, errors.HfHubHTTPError):
    return error.response.status_code >= 500
  # The second is all that the client of the hub's storage for large files
  # raises, whatever has happened.
  return is_of_network(error) or isinstance(error, RuntimeError)
