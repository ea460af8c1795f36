"""Models on the Hugging Face Hub, such as 'hf://organisation/name@revision'.

The prefix 'hf://' may be left out where no local path can be meant; see
`fetch`.

Downloads are kept in the cache of the client library. Only the files that are
needed are downloaded: of a base, its configuration, its weights in one format,
and its vocabulary.
"""

import os
import re
from collections.abc import Callable, Sequence

from moe_lite.checkpoints.hugging_face import file_names
from moe_lite.core import hub
from moe_lite.core.errors import UserError

PREFIX = 'hf://'
_ADDRESS = re.compile(rf'{PREFIX}([\w.-]+/[\w.-]+)(?:@(\S+))?')
# Patterns of the files to download of all files of a repository; None where
# some are missing.
Wanted = Callable[[Sequence[str]], list[str] | None]


def is_address(path: str) -> bool:
  """Whether a path is the address of a model on the hub."""
  return path.startswith(PREFIX)


def parse(address: str) -> tuple[str, str | None]:
  """Splits an address: 'organisation/name', and the revision if it has one.

  Raises:
    UserError: if it is not such an address.
  """
  match = _ADDRESS.fullmatch(address)
  if not match:
    raise UserError(
      f'{address!r} is not the address of a model: give '
      f'{PREFIX}ORGANISATION/NAME, and @REVISION behind it for a branch, a tag '
      'or a commit.'
    )
  return match[1], match[2]


def base_files(names: Sequence[str]) -> list[str] | None:
  """Patterns of the files that a base needs; None where some are missing.

  Args:
    names: the names of all files of a repository.
  """
  main = file_names.choose(names)
  if main is None or file_names.CONFIG not in names:
    return None
  return [file_names.CONFIG, file_names.VOCABULARY, *file_names.patterns(main)]


_BASE_NEEDS = (
  f'{file_names.CONFIG} or weights ({", ".join(file_names.WEIGHTS)})'
)


def fetch(
  path: str,
  wanted: Wanted = base_files,
  needs: str = _BASE_NEEDS,
  described_by: str = file_names.CONFIG,
) -> str | None:
  """Downloads a model that a path names; None if the path is a local one.

  A path names a model of the hub if it begins with 'hf://', or if it has the
  form 'organisation/name' and there is no file or folder 'organisation' here.

  Args:
    path: the path.
    wanted: see `download`.
    needs: see `download`.
    described_by: see `download`.

  Returns:
    The folder of the model.

  Raises:
    UserError: see `download`.
  """
  if is_address(path):
    return download(path, wanted, needs, described_by)
  folder = path.partition('/')[0]
  if not _ADDRESS.fullmatch(f'{PREFIX}{path}') or os.path.exists(folder):
    return None
  try:
    return download(f'{PREFIX}{path}', wanted, needs, described_by)
  except UserError as error:
    raise UserError(
      f'{path!r} is neither a path nor a model of the hub. As a path: there is '
      f'no {folder!r} in {os.getcwd()}. As a model of the hub: {error}'
    ) from error


def download(
  address: str,
  wanted: Wanted = base_files,
  needs: str = _BASE_NEEDS,
  described_by: str = file_names.CONFIG,
) -> str:
  """Downloads a model, unless it was downloaded before; returns its folder.

  Where the hub cannot be reached, what was downloaded before is used.

  Args:
    address: the address of the model.
    wanted: chooses what to download. It gets the names of all files of the
      repository, and returns patterns; or None where the repository lacks files
      that are needed.
    needs: names the files that are needed, for the message.
    described_by: one of the files that are always downloaded, by which an
      earlier download is found.

  Raises:
    UserError: if there is no such model, or it cannot be downloaded.
  """
  import huggingface_hub
  from huggingface_hub import errors

  repository, revision = parse(address)
  revision = revision or 'main'
  with hub.told(f'{address} cannot be downloaded'):
    try:
      info = hub.patiently(
        lambda: hub.client().model_info(repository, revision=revision),
        is_first=True,
      )
    except Exception as error:
      is_offline = isinstance(error, errors.OfflineModeIsEnabled)
      if not is_offline and not hub.is_of_network(error):
        raise
      kept = huggingface_hub.try_to_load_from_cache(
        repository, described_by, revision=revision
      )
      if not isinstance(kept, str):
        raise UserError(_unreached(address, is_offline, error)) from error
      return os.path.dirname(kept)
    patterns = wanted([x.rfilename for x in info.siblings or ()])
    if patterns is None:
      raise UserError(
        f'{address} is not a model that can be read: it lacks {needs}.'
      )
    return hub.patiently(
      lambda: huggingface_hub.snapshot_download(
        repository,
        revision=revision,
        allow_patterns=patterns,
        endpoint=hub.endpoint(),
      )
    )


def _unreached(address: str, is_offline: bool, error: Exception) -> str:
  """The message where a model is neither on this machine nor to be had."""
  from huggingface_hub import constants

  repository, revision = parse(address)
  if is_offline:
    why = 'HF_HUB_OFFLINE is set'
    connect = 'Unset HF_HUB_OFFLINE to download it'
  else:
    cause = error.__cause__ or error
    text = str(cause).partition('\n')[0] or type(cause).__name__
    place = hub.endpoint() or constants.ENDPOINT
    why = f'the hub cannot be reached at {place} ({text})'
    connect = 'Check the network, or HF_ENDPOINT if you use another hub'
  of_revision = f' --revision {revision}' if revision else ''
  return (
    f'{address} cannot be downloaded, because {why}, and the cache of earlier '
    f'downloads, {constants.HF_HUB_CACHE}, does not have it. {connect}. On a '
    f'machine without a network, copy the cache of another machine and set '
    f'HF_HOME; or run `hf download {repository}{of_revision} --local-dir DIR` '
    'elsewhere, copy DIR, and give its path in place of the address.'
  )
