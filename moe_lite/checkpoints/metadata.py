"""The file beside a base that says what the base is: `metadata.json`."""

import json
import posixpath
from typing import Any

from moe_lite.checkpoints import buckets
from moe_lite.core.errors import UserError

METADATA = 'metadata.json'


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
    says = json.loads(contents)
    parts = [says, says.get('network', {}), says.get('text', {})]
    name = parts[-1].get('vocabulary', '')
  except (AttributeError, ValueError) as error:
    raise UserError(f'{file} is damaged: {error}.') from error
  if not all(isinstance(x, dict) for x in parts) or not isinstance(name, str):
    raise UserError(f'{file} is damaged: it says {says!r}.')
  return says
