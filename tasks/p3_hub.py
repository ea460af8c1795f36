"""P3's data set repository on the Hugging Face Hub.

The client library resumes what was cut short, and waits and tries again where
the hub is busy. What it raises in the end becomes a UserError here.
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
  import huggingface_hub

  with _told(f'The files of {REPOSITORY} cannot be listed'):
    for entry in _client().list_repo_tree(
      REPOSITORY, recursive=True, revision=commit, repo_type='dataset'
    ):
      if isinstance(entry, huggingface_hub.RepoFile):
        yield entry.path, entry.size


def download(file: str, commit: str, folder: str) -> str:
  """Downloads a file to its place under `folder`; returns its path."""
  import huggingface_hub
  from huggingface_hub import errors, utils

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
      except errors.HfHubHTTPError as error:
        # The client tries again at 429, but not at the hub's own failures.
        if wait is None or error.response.status_code < 500:
          raise
      time.sleep(wait)
  raise AssertionError('The loop returns or raises.')


def _client():
  import huggingface_hub

  return huggingface_hub.HfApi(endpoint=_endpoint())


def _endpoint() -> str | None:
  # The library asks for it when it is imported, which may be long ago.
  return os.environ.get('HF_ENDPOINT')


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
  try:
    yield
  except OSError as error:  # As the client's own errors are.
    cause = error.__cause__ or error
    text = str(cause).strip().partition('\n')[0]
    raise UserError(f'{what}: {text or type(cause).__name__}') from error
  except Exception as error:
    # Of its HTTP library, which is not ours to name.
    if not type(error).__module__.startswith(('httpx', 'httpcore')):
      raise
    raise UserError(f'{what}: {error or type(error).__name__}') from error
