"""One TensorFlow tokenizer for each SentencePiece vocabulary.

SeqIO makes a tokenizer whenever a pipeline tokenizes, and each of them holds a
copy of the whole vocabulary. TensorFlow then copies, rewrites and parses it
again with every feature of every task. For T5's vocabulary that takes longer
than to read 30 rows.
"""

import functools
from typing import Any

import seqio
import tensorflow as tf
import tensorflow_text as tf_text


def share() -> None:
  """Has SeqIO's SentencePiece vocabularies share their tokenizers.

  A second call changes nothing.
  """
  vocabulary: Any = seqio.SentencePieceVocabulary
  vocabulary.tf_tokenizer = _SHARED


@functools.lru_cache(maxsize=8)
def _tokenizer(model: bytes, is_fast: bool) -> Any:
  made = (
    tf_text.FastSentencepieceTokenizer
    if is_fast
    else tf_text.SentencepieceTokenizer
  )
  # Within a pipeline's function, this makes the tokenizer outside of it.
  with tf.init_scope(), tf.device('CPU'):
    return made(model=model)


_SHARED = property(
  lambda self: _tokenizer(self.sp_model, self._use_fast_tokenizer)
)
