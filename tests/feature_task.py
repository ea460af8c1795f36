"""A task whose inputs are all alike, and told apart by a vector beside them."""

import numpy as np
import seqio
import tensorflow as tf

from moe_lite.data import catalog
from tests import tiny_task

SIZE = 4
NAME = 'tiny_feature'
LENGTHS = {'inputs': 8, 'targets': 8, 'inputs_embedding': SIZE}


def _embedding(index):
  return 3 * np.eye(SIZE, dtype=np.float32)[index % SIZE]


def _examples(split, shuffle_files=False, seed=None):
  count = {'train': 64, 'validation': 12}[split]
  return tf.data.Dataset.from_tensor_slices(
    {
      'inputs': tf.constant(['say it'] * count),
      'targets': tf.constant([tiny_task.WORDS[i % SIZE] for i in range(count)]),
      'inputs_embedding': np.stack([_embedding(i) for i in range(count)]),
    }
  )


def _choices(split, shuffle_files=False, seed=None):
  indices = [(i, c) for i in range(12) for c in range(SIZE)]
  return tf.data.Dataset.from_tensor_slices(
    {
      'inputs': tf.constant(['say it'] * len(indices)),
      'targets': tf.constant([tiny_task.WORDS[c] for _, c in indices]),
      'inputs_embedding': np.stack([_embedding(i) for i, _ in indices]),
      'idx': tf.constant(indices, tf.int32),
      'is_correct': tf.constant([i % SIZE == c for i, c in indices]),
      'weight': tf.ones(len(indices)),
    }
  )


FEATURES = {
  'inputs': seqio.Feature(tiny_task.VOCABULARY, add_eos=False),
  'targets': seqio.Feature(tiny_task.VOCABULARY, add_eos=True),
  'inputs_embedding': seqio.Feature(
    seqio.PassThroughVocabulary(1), add_eos=False, dtype=tf.float32
  ),
}
for _name, _source, _splits in (
  (NAME, _examples, ('train', 'validation')),
  (NAME + catalog.SCORE_EVAL, _choices, ('validation',)),
):
  seqio.TaskRegistry.add(
    _name,
    source=seqio.FunctionDataSource(_source, splits=_splits),
    preprocessors=[
      seqio.preprocessors.tokenize,
      seqio.preprocessors.append_eos,
    ],
    output_features=FEATURES,
  )
