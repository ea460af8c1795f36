"""Models on the Hugging Face Hub: 'hf://organisation/name@revision'.

They are kept in the client library's cache. What is downloaded is chosen by
name: of a base, weights of one format, and its vocabulary.
"""

import os
import re
from collections.abc import Callable, Sequence

from moe_lite.checkpoints.hugging_face import file_names
from moe_lite.core import hub
from moe_lite.core.errors import UserError

PREFIX = 'hf://'
_ADDRESS = re.compile(rf'{PREFIX}([\w.-]+/[\w.-]+)(?:@(\S+))?')


def is_address(path: str) -> bool:
  """Whether a path is one of the hub."""
  return path.startswith(PREFIX)


def parse(address: str) -> tuple[str, str | None]:
  """'organisation/name', and the revision if one is given.

  Raises:
    UserError: if it is no such address.
  """
  match = _ADDRESS.fullmatch(address)
  if not match:
    raise UserError(
      f'{address!r} is no address of a model: give {PREFIX}ORGANISATION/NAME, '
      'and @REVISION behind it for a branch, a tag or a commit.'
    )
  return match[1], match[2]


def base_files(names: Sequence[str]) -> list[str] | None:
  """Patterns of what a base needs of a repository's files."""
  main = file_names.choose(names)
  if main is None or file_names.CONFIG not in names:
    return None
  return [file_names.CONFIG, file_names.VOCABULARY, *file_names.patterns(main)]


def download(
  address: str,
  wanted: Callable[[Sequence[str]], list[str] | None] = base_files,
  needs: str = (
    f'{file_names.CONFIG} or weights ({", ".join(file_names.WEIGHTS)})'
  ),
  described_by: str = file_names.CONFIG,
) -> str:
  """The local folder of a model, downloaded unless it is there already.

  Where the hub cannot be reached, what was downloaded before serves.

  Args:
    address: of the model.
    wanted: of the names that a repository has, the patterns of those to
      download; None where it lacks some.
    needs: which those are, for the message.
    described_by: a file that is among them.

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
        lambda: hub.client().model_info(repository, revision=revision)
      )
    except Exception as error:
      is_offline = isinstance(error, errors.OfflineModeIsEnabled)
      if not is_offline and not hub.is_of_network(error):
        raise
      kept = huggingface_hub.try_to_load_from_cache(
        repository, described_by, revision=revision
      )
      if not isinstance(kept, str):
        raise
      return os.path.dirname(kept)
    patterns = wanted([x.rfilename for x in info.siblings or ()])
    if patterns is None:
      raise UserError(
        f'{address} is no model that can be read: it lacks {needs}.'
      )
    return hub.patiently(
      lambda: huggingface_hub.snapshot_download(
        repository,
        revision=revision,
        allow_patterns=patterns,
        endpoint=hub.endpoint(),
      )
    )
