"""The vocabulary that P3 is read with: T5's or another one.

P3 is published as text and as ids of T5's vocabulary. With another vocabulary
the text is tokenized anew. A gin file says which vocabulary it is. Its file is
read only when it is needed; training on T5's ids needs no vocabulary.
"""

import functools
import hashlib
from typing import Any

import seqio
import tensorflow as tf
from etils import epath

from moe_lite.core.errors import UserError
from tasks.p3 import settings

# T5's own copy of its vocabulary, which has 32,100 entries with 100 sentinels.
T5_MODEL = 'gs://t5-data/vocabs/cc_all.32000.100extra/sentencepiece.model'
T5_SHA256 = 'd60acb128cf7b7f2536e8f38a5b18a05535c9e14c7a355904270e15b0945ea86'
_T5_SIZE, _EOS, _UNK = 32_100, 1, 2


def is_t5() -> bool:
  """Whether the vocabulary is T5's, so that P3's ids can be read as they are.

  Raises:
    UserError: if the file of another vocabulary cannot be read.
  """
  path, _ = settings.get(settings.vocabulary)
  return path is None or _sha256(path) == T5_SHA256


class Vocabulary(seqio.Vocabulary):
  """The configured vocabulary, which is loaded when a text needs it."""

  def __init__(self):
    super().__init__(extra_ids=0)  # The pieces include them.

  @property
  def bos_id(self) -> int | None:
    return self._loaded.bos_id

  @property
  def eos_id(self) -> int | None:
    return _EOS if is_t5() else self._loaded.eos_id

  @property
  def unk_id(self) -> int | None:
    return _UNK if is_t5() else self._loaded.unk_id

  @property
  def _base_vocab_size(self) -> int:
    return _T5_SIZE if is_t5() else self._loaded.vocab_size

  @property
  def _loaded(self) -> seqio.SentencePieceVocabulary:
    return load()

  def _encode(self, s: str) -> list[int]:
    return list(self._loaded.encode(s))

  def _decode(self, ids) -> str:
    return self._loaded.decode(ids)

  def _encode_tf(self, s: tf.Tensor) -> tf.Tensor:
    return self._loaded.encode_tf(s)

  def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
    return self._loaded.decode_tf(ids)

  def __eq__(self, other: object) -> bool:
    return isinstance(other, Vocabulary)

  def __str__(self) -> str:
    path, extra_ids = settings.get(settings.vocabulary)
    # Results record this text, so it keeps the module's first name.
    return f'p3_vocabulary.Vocabulary({path or T5_MODEL}, {extra_ids})'


def load() -> seqio.SentencePieceVocabulary:
  """Loads the vocabulary from its file.

  Call it before a function that needs the vocabulary is traced: errors lose
  their types while TensorFlow traces.

  Raises:
    UserError: if the file cannot be read, or if its special ids are not T5's.
  """
  path, extra_ids = settings.get(settings.vocabulary)
  return _load(path or T5_MODEL, extra_ids)


def target_ids(text: tf.Tensor) -> tf.Tensor:
  """The ids of a target with EOS, without white space around its text."""
  vocabulary = Vocabulary()
  parts: Any = (
    vocabulary.encode_tf(tf.strings.strip(text)),
    [vocabulary.eos_id],
  )
  return tf.concat(parts, 0)


@functools.cache
def _load(path: str, extra_ids: int) -> seqio.SentencePieceVocabulary:
  loaded = seqio.SentencePieceVocabulary(path, extra_ids)
  try:
    loaded.load_model()
  except (OSError, RuntimeError, tf.errors.OpError) as error:
    raise _unreadable(path, error) from error
  if (loaded.eos_id, loaded.tokenizer.pad_id()) != (_EOS, 0):
    raise UserError(
      f'The vocabulary {path} has EOS {loaded.eos_id} and padding '
      f'{loaded.tokenizer.pad_id()}, but T5 networks end at {_EOS} and pad '
      'with 0. Train it with --pad_id=0 --eos_id=1 --unk_id=2 --bos_id=-1.'
    )
  return loaded


@functools.cache
def _sha256(path: str) -> str:
  try:
    return hashlib.sha256(epath.Path(path).read_bytes()).hexdigest()
  except (OSError, tf.errors.OpError) as error:
    raise _unreadable(path, error) from error


def _unreadable(path: str, error: Exception) -> UserError:
  return UserError(
    f'The vocabulary {path} cannot be read ({error}). Give the path of a '
    'SentencePiece model: --gin.P3_VOCABULARY="\'/data/sentencepiece.model\'".'
  )
