"""Pipelines share one tokenizer for a vocabulary."""

import seqio
import tensorflow as tf

from moe_lite.data import tokenizers
from tasks.mini import vocabulary


def _operations(vocab: seqio.Vocabulary) -> set[str]:
  """The names of the operations of a pipeline that tokenizes."""
  function = tf.function(vocab.encode_tf).get_concrete_function(
    tf.TensorSpec([], tf.string)
  )
  return {op.type for op in function.graph.get_operations()}


def test_a_pipeline_holds_no_copy_of_the_vocabulary():
  tokenizers.share()
  vocab = vocabulary.vocabulary()
  assert 'SentencepieceOp' not in _operations(vocab)  # Even if it is the first.
  assert 'SentencepieceTokenizeOp' in _operations(vocab)


def test_each_vocabulary_has_its_own(tmp_path):
  tokenizers.share()
  one, same = vocabulary.vocabulary(), vocabulary.vocabulary()
  other = seqio.SentencePieceVocabulary(vocabulary.PATH, extra_ids=0)
  assert one.tf_tokenizer is same.tf_tokenizer
  assert one.tf_tokenizer is not other.tf_tokenizer
  text = 'the red box is on the table .'
  for vocab in (one, other):
    assert vocab.encode_tf(text).numpy().tolist() == vocab.encode(text)
