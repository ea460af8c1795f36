"""P3's data set repository on the Hugging Face Hub; see `moe_lite.core.hub`."""

from collections.abc import Iterator

from moe_lite.core import hub
from moe_lite.core.errors import UserError

REPOSITORY = 'bigscience/P3'


def commit(revision: str) -> str:
  """The commit that a branch, a tag or the name of a commit stands for."""
  with hub.told(f'Revision {revision!r} of {REPOSITORY} cannot be found'):
    sha = hub.client().dataset_info(REPOSITORY, revision=revision).sha
  if not sha:
    raise UserError(f'The hub names no commit for revision {revision!r}.')
  return sha


def files(commit: str) -> Iterator[tuple[str, int]]:
  """Yields the path and the size in bytes of every file."""
  from huggingface_hub import hf_api

  with hub.told(f'The files of {REPOSITORY} cannot be listed'):
    for entry in hub.client().list_repo_tree(
      REPOSITORY, recursive=True, revision=commit, repo_type='dataset'
    ):
      if isinstance(entry, hf_api.RepoFile):
        yield entry.path, entry.size


def download(file: str, commit: str, folder: str) -> str:
  """Downloads a file to its place under `folder`, and returns its path."""
  import huggingface_hub
  from huggingface_hub import utils

  utils.disable_progress_bars()
  utils.logging.set_verbosity_error()
  with hub.told(f'{file} cannot be downloaded'):
    return hub.patiently(
      lambda: huggingface_hub.hf_hub_download(
        REPOSITORY,
        file,
        repo_type='dataset',
        revision=commit,
        local_dir=folder,
        endpoint=hub.endpoint(),
      )
    )
