"""The file beside a base that says what the base is: `metadata.json`."""

import json
import posixpath
import re
from typing import Any

from moe_lite.checkpoints import buckets
from moe_lite.core import integrity
from moe_lite.core.errors import UserError

METADATA = 'metadata.json'
# Its entry that maps the path of each leaf to its `parameters.digest`.
DIGESTS = 'digests'
_DIGEST = re.compile('[0-9a-f]{64}').fullmatch


def read_metadata(folder: str) -> dict[str, Any]:
  """Reads the file; the result is empty where there is none.

  Its entry `network` is what `t5.description.to_json` gives, and its entry
  `text` says how texts become ids. Both may be missing.

  Raises:
    UserError: if the file is damaged.
  """
  file = posixpath.join(folder, METADATA)
  contents = buckets.read(file)
  if contents is None:
    return {}
  try:
    says = integrity.unseal(json.loads(contents), file)
  except ValueError as error:
    if isinstance(error, UserError):
      raise
    raise UserError(f'{file} is damaged: {error}.') from error
  wanted = {
    'network': dict,
    'text': dict,
    DIGESTS: dict,
    'fingerprint': str,
  }
  for name, kind in wanted.items():
    if not isinstance(says.get(name, kind()), kind):
      raise UserError(f'{file} is damaged: its {name} is {says[name]!r:.80}.')
  if not isinstance(says.get('text', {}).get('vocabulary', ''), str):
    raise UserError(f'{file} is damaged: its text is {says["text"]!r:.80}.')
  for name, digest in says.get(DIGESTS, {}).items():
    if not isinstance(digest, str) or not _DIGEST(digest):
      raise UserError(f'{file} is damaged: {name} has the hash {digest!r:.80}.')
  return says
