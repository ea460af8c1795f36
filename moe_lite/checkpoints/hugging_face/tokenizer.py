"""What the files of a tokenizer of Hugging Face's say of its vocabulary."""

import json
import posixpath
import re
from typing import Any

from moe_lite.checkpoints import buckets
from moe_lite.checkpoints.hugging_face.file_names import CONFIG
from moe_lite.core.errors import UserError

TOKENIZER = 'tokenizer_config.json'
ADDED = 'added_tokens.json'
_BYTES = 'ByT5Tokenizer'
# Tokens that T5's vocabulary has by itself.
_KNOWN = re.compile(r'▁?<extra_id_\d+>|<pad>|</s>|<unk>|<s>|<mask>').fullmatch


def describe(folder: str) -> dict[str, Any]:
  """How texts become ids, for `inference.vocabulary.find_vocabulary`.

  Args:
    folder: the folder of a model.

  Returns:
    Of these entries those that are known: `extra_ids`, the number of sentinels;
    `bytes`, whether ids are bytes, as in ByT5; and `added_tokens`, the tokens
    that are in no SentencePiece model.

  Raises:
    UserError: if a file is damaged.
  """
  said = _read(folder, TOKENIZER)
  sources = (said, _read(folder, CONFIG))
  found: dict[str, Any] = {}
  if any(source.get('tokenizer_class') == _BYTES for source in sources):
    found['bytes'] = True
  extra_ids = said.get('extra_ids')
  if isinstance(extra_ids, int) and not isinstance(extra_ids, bool):
    found['extra_ids'] = extra_ids
  elif extra_ids is not None:
    raise UserError(
      f'{folder}/{TOKENIZER} has extra_ids {extra_ids!r}; a number is needed.'
    )
  added = list(_read(folder, ADDED))
  decoder = said.get('added_tokens_decoder') or {}
  if isinstance(decoder, dict):
    added += [
      str(x.get('content')) for x in decoder.values() if isinstance(x, dict)
    ]
  if unknown := sorted({token for token in added if not _KNOWN(token)}):
    found['added_tokens'] = unknown
  return found


def _read(folder: str, name: str) -> dict[str, Any]:
  """Reads a file; the result is empty where there is none."""
  path = posixpath.join(folder, name)
  contents = buckets.read(path)
  if contents is None:
    return {}
  try:
    said = json.loads(contents)
  except ValueError as error:
    raise UserError(f'{path} cannot be read: {error}.') from error
  if not isinstance(said, dict):
    raise UserError(f'{path} is damaged: it holds {said!r:.40}.')
  return said
