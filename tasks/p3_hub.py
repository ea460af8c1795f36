"""P3's data set repository on the Hugging Face Hub.

The client library resumes what was cut short, and waits and tries again where
the hub is busy. This tries again after failures of the hub and of connections;
what is raised in the end becomes a UserError.
"""

import contextlib
import os
import time
from collections.abc import Iterator

from moe_lite.errors import UserError

REPOSITORY = 'bigscience/P3'
# Before trying again, in seconds.
_WAITS = (1, 5, 30)


def commit(revision: str) -> str:
  """The commit that a branch, a tag or a commit's name stands for."""
  with _told(f'Revision {revision!r} of {REPOSITORY} cannot be found'):
    sha = _client().dataset_info(REPOSITORY, revision=revision).sha
  if not sha:
    raise UserError(f'The hub names no commit for revision {revision!r}.')
  return sha


def files(commit: str) -> Iterator[tuple[str, int]]:
  """Path and size in bytes of every file."""
  from huggingface_hub import hf_api

  with _told(f'The files of {REPOSITORY} cannot be listed'):
    for entry in _client().list_repo_tree(
      REPOSITORY, recursive=True, revision=commit, repo_type='dataset'
    ):
      if isinstance(entry, hf_api.RepoFile):
        yield entry.path, entry.size


def download(file: str, commit: str, folder: str) -> str:
  """Downloads a file to its place under `folder`; returns its path."""
  import huggingface_hub
  from huggingface_hub import utils

  utils.disable_progress_bars()
  utils.logging.set_verbosity_error()
  with _told(f'{file} cannot be downloaded'):
    for wait in (*_WAITS, None):
      try:
        return huggingface_hub.hf_hub_download(
          REPOSITORY,
          file,
          repo_type='dataset',
          revision=commit,
          local_dir=folder,
          endpoint=_endpoint(),
        )
      except Exception as error:
        if wait is None or not _may_pass(error):
          raise
      time.sleep(wait)
  raise AssertionError('The loop returns or raises.')


def _client():
  import huggingface_hub

  return huggingface_hub.HfApi(endpoint=_endpoint())


def _endpoint() -> str | None:
  # The library asks for it when it is imported, which may be long ago.
  return os.environ.get('HF_ENDPOINT')


def _may_pass(error: Exception) -> bool:
  """Whether to try again what the client did not."""
  from huggingface_hub import errors

  if isinstance(error, errors.HfHubHTTPError):
    return error.response.status_code >= 500
  # The second is all that the client of the hub's storage for large files
  # raises, whatever has happened.
  return _is_of_network(error) or isinstance(error, RuntimeError)


def _is_of_network(error: BaseException) -> bool:
  """Whether there was no answer, rather than one that says no."""
  cause = error.__cause__ or error
  # Of the client's HTTP library, which is not ours to name.
  is_http = type(cause).__module__.startswith(('httpx', 'httpcore'))
  return is_http and not hasattr(cause, 'response')


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
  try:
    yield
  except Exception as error:
    if _is_of_network(error):
      what += ', as the hub cannot be reached'
    elif not isinstance(error, OSError | RuntimeError):
      raise  # None of the client's own.
    cause = error.__cause__ or error
    text = str(cause).strip().partition('\n')[0]
    raise UserError(f'{what}: {text or type(cause).__name__}') from error
