"""Span corruption with salient spans, for pretraining a base.

The format is T5's: sentinels replace hidden spans, and the targets hold each
sentinel with the span that it replaces. The hidden tokens are drawn with
weights, so that words that carry knowledge are hidden more often than the words
between them. This follows salient span masking (Guu et al. 2020, arXiv
2002.08909; Roberts et al. 2020, arXiv 2002.08910, for T5).
"""

from collections.abc import Collection

import numpy as np
import seqio
import tensorflow as tf

NOISE_DENSITY = 0.2
SALIENCE = 4.0


def corrupt_spans(
  dataset: tf.data.Dataset,
  output_features,
  salient_words: Collection[str],
  noise_density: float = NOISE_DENSITY,
  salience: float = SALIENCE,
) -> tf.data.Dataset:
  """Hides random tokens of each example.

  Args:
    dataset: examples with two or more tokens under `targets`.
    output_features: the features of the task. The last ids of their vocabulary
      are the sentinels.
    salient_words: the words to hide more often. Each is a piece of the
      vocabulary.
    noise_density: the share of tokens to hide. Hidden neighbours form one span.
    salience: how many times as likely as another word a salient word is to be
      hidden.

  Returns:
    A data set of `inputs` and `targets`.
  """
  vocabulary = output_features['targets'].vocabulary
  log_weights = np.zeros(vocabulary.vocab_size, np.float32)
  for word in salient_words:
    log_weights[vocabulary.encode(word)[0]] = np.log(salience)
  # The decorator gives the seed.
  return _corrupt(  # pyright: ignore[reportCallIssue]
    dataset, vocabulary.vocab_size, tf.constant(log_weights), noise_density
  )


@seqio.map_over_dataset(num_seeds=1)
def _corrupt(example, vocab_size, log_weights, noise_density, seed):
  tokens = example['targets']
  is_hidden = hidden_tokens(tf.gather(log_weights, tokens), noise_density, seed)
  return {
    'inputs': spans_to_sentinels(tokens, is_hidden, vocab_size),
    'targets': spans_to_sentinels(tokens, ~is_hidden, vocab_size),
  }


def hidden_tokens(log_weights, noise_density: float, seed):
  """Draws which tokens to hide, as booleans in the shape of `log_weights`.

  Gumbel noise makes it a draw without replacement. The first token always
  stays, so that inputs and targets number their spans alike.
  """
  length = tf.size(log_weights)
  count = tf.round(tf.cast(length, tf.float32) * noise_density)
  count = tf.clip_by_value(tf.cast(count, tf.int32), 1, length - 1)
  uniform = tf.random.stateless_uniform([length], seed, minval=1e-9)
  draws = log_weights - tf.math.log(-tf.math.log(uniform))
  draws = tf.concat([[draws.dtype.min], draws[1:]], axis=0)
  hidden = tf.math.top_k(draws, count).indices
  return tf.scatter_nd(
    hidden[:, None], tf.ones_like(hidden, tf.bool), length[None]
  )


def spans_to_sentinels(tokens, mask, vocab_size: int):
  """Replaces each masked span by one sentinel, from the last id downwards."""
  starts = mask & tf.logical_not(tf.concat([[False], mask[:-1]], axis=0))
  number = tf.cumsum(tf.cast(starts, tokens.dtype))
  tokens = tf.where(starts, vocab_size - number, tokens)
  return tf.boolean_mask(tokens, starts | ~mask)
