"""Remembers the fingerprints of what others wrote, whose files hold none.

The first use of such a folder records its fingerprint in a file of the user's
own cache, `$XDG_CACHE_HOME/moe_lite/fingerprints.json`. Every later use
compares.
"""

import datetime
import hashlib
import json
import os
from typing import Any

from etils import epath

from moe_lite.core import json_text
from moe_lite.core.errors import Damaged
from moe_lite.core.files import replace_text
from moe_lite.core.progress import say


def record() -> epath.Path:
  """The file that remembers."""
  cache = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
  return epath.Path(cache) / 'moe_lite' / 'fingerprints.json'


def check(
  path: str, fingerprint: str, says: Any = None, accept: bool = False
) -> str:
  """Compares a folder with what it was at its first use, or remembers it.

  Args:
    path: the folder, the file or the address.
    fingerprint: that of its leaves now; see `parameters.fingerprint`.
    says: what else its files say that is used, for JSON.
    accept: whether to remember it even if it was another before.

  Returns:
    A sentence on what was found.

  Raises:
    Damaged: if it was another before.
  """
  place = path if '://' in path else os.path.realpath(path)
  known = _read()
  before = known.get(place)
  text = json_text.dumps(says, sort_keys=True, default=str)
  hashed = hashlib.sha256(text.encode()).hexdigest()[:16]
  now = {'fingerprint': fingerprint, 'says': hashed}
  if before and before.items() >= now.items():
    return f'the same as at its first use on {before["date"]}'
  if before and not accept:
    changed = (
      'what it says of its network or its texts has changed'
      if before['fingerprint'] == fingerprint
      else f'its fingerprint was {before["fingerprint"]} and is {fingerprint}'
    )
    raise Damaged(
      f'{path} is not what it was at its first use on {before["date"]}: '
      f'{changed}. Fetch it again. If it was replaced on purpose: python -m '
      f'moe_lite.convert inspect {path} --verify --accept'
    )
  today = datetime.datetime.now(datetime.UTC).date().isoformat()
  known[place] = {**now, 'date': today}
  file = record()
  try:
    file.parent.mkdir(parents=True, exist_ok=True)
    replace_text(file, json_text.dumps(known, indent=2, sort_keys=True) + '\n')
  except OSError as error:
    return f'used for the first time, but {file} cannot be written: {error}'
  return f'used for the first time, which {file} now says'


def _read() -> dict[str, dict[str, str]]:
  """What was remembered; nothing if the file is damaged."""
  file = record()
  try:
    known = json.loads(file.read_text())
    wanted = {'fingerprint', 'says', 'date'}
    if all(wanted <= entry.keys() for entry in known.values()):
      return known
  except FileNotFoundError:
    return {}
  except (AttributeError, OSError, ValueError):
    pass
  say(f'{file} is damaged, and is begun anew.')
  return {}
