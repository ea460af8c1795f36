"""SeqIO tasks over bytes, small enough to learn in a few steps.

Imported by `tiny.gin` as well as by tests.
"""

import seqio
import tensorflow as tf

WORDS = ('red', 'green', 'blue', 'black')
VOCABULARY = seqio.ByteVocabulary()


def examples(split, shuffle_files=False, seed=None):
  """'say red 4' to 'red'; the split `none` is empty."""
  number = {'train': 400, 'validation': 40, 'none': 0}[split]
  words = [WORDS[i % 4] for i in range(number)]
  return tf.data.Dataset.from_tensor_slices(
    {
      'inputs': tf.constant(
        [f'say {w} {i}' for i, w in enumerate(words)], tf.string
      ),
      'targets': tf.constant(words, tf.string),
    }
  )


def accuracy(targets, predictions):
  return {'accuracy': sum(map(str.__eq__, targets, predictions)) / len(targets)}


def add(name, shuffle_buffer_size=50, metric_fns=()):
  seqio.TaskRegistry.add(
    name,
    source=seqio.FunctionDataSource(
      examples, splits=['train', 'validation', 'none']
    ),
    preprocessors=[
      seqio.preprocessors.tokenize,
      seqio.CacheDatasetPlaceholder(),
      seqio.preprocessors.append_eos,
    ],
    output_features={
      'inputs': seqio.Feature(VOCABULARY, add_eos=False),
      'targets': seqio.Feature(VOCABULARY, add_eos=True),
    },
    shuffle_buffer_size=shuffle_buffer_size,
    metric_fns=list(metric_fns),
  )


add('tiny_task')
add('tiny_other')
add('tiny_measured', metric_fns=[accuracy])
seqio.MixtureRegistry.add(
  'tiny_mixture', [('tiny_task', 3.0), ('tiny_other', 1.0)]
)
