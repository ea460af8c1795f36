"""P3: the public pool of prompts, and the mixtures of T0.

Importing this module registers, from `p3_table.csv`,

  the 592 tasks of T0's definitions and the 5 published beside them, and the
  `_score_eval` twin of each that has answer choices, one row a choice
  t0_train, t0+_train, t0++_train, t0_train_one_og_prompt,
  t0_train_all_og_prompts     training, each task at the rate of T0
  t0_eval_score_eval          the held-out data sets, ranked
  t0_train_score_eval, bias_fairness_eval_score_eval

and touches no data. Where these lie, see `p3_folder`; with which vocabulary
they are read, `p3_vocabulary`. Source: T0 (arXiv 2110.08207).
"""

import seqio
import tensorflow as tf

from moe_lite.data import catalog
from tasks import metrics, rank_classification
from tasks.p3 import published, source, table, vocabulary

_VOCABULARY = vocabulary.Vocabulary()
FEATURES = {
  'inputs': seqio.Feature(_VOCABULARY, add_eos=False),
  'targets': seqio.Feature(_VOCABULARY, add_eos=True),
}
# Its three rounds are one column of the table.
_ANLI = 'anli'


def retokenize(dataset: tf.data.Dataset) -> tf.data.Dataset:
  """Gives rows the ids of another vocabulary than T5's, from their text."""
  if vocabulary.is_t5():
    return dataset
  vocabulary.load()

  def encode(row):
    return {
      **row,
      'inputs': _VOCABULARY.encode_tf(row['inputs_pretokenized']),
      'targets': vocabulary.target_ids(row['targets_pretokenized']),
    }

  return dataset.map(encode, num_parallel_calls=tf.data.AUTOTUNE)


_PREPROCESSORS = (seqio.CacheDatasetPlaceholder(), retokenize)
# Rows of a task that are shuffled among themselves. SeqIO's 1000 would make 313
# tasks read 313,000 rows before the first batch, and save them with the
# position in the data; mixing so many tasks shuffles more than their buffers.
_SHUFFLE_BUFFER = 100


def _add(prompt: table.Prompt) -> None:
  seqio.TaskRegistry.add(
    prompt.task,
    source=source.source(prompt),
    preprocessors=_PREPROCESSORS,
    output_features=FEATURES,
    shuffle_buffer_size=_SHUFFLE_BUFFER,
    postprocess_fn=metrics.postprocess_for(prompt.metrics),
    metric_fns=[metrics.METRICS[name] for name in prompt.metrics],
  )
  if prompt.has_choices:
    seqio.TaskRegistry.add(
      prompt.twin,
      source=source.source(prompt, twin=True),
      preprocessors=_PREPROCESSORS,
      output_features=FEATURES,
      postprocess_fn=rank_classification.keep_row,
      metric_fns=[rank_classification.accuracy],
    )
  catalog.add(
    catalog.TaskInfo(
      name=prompt.task,
      dataset=prompt.dataset,
      cluster=prompt.cluster,
      template=prompt.template,
      chance=100 / len(prompt.choices) if prompt.choices else None,
      held_out='t0_eval_score_eval' in prompt.mixtures,
      column=_ANLI if prompt.dataset.startswith(f'{_ANLI}_') else None,
    )
  )


def rate(task: str) -> float:
  """How often a training mixture draws a task; 1 for what is not trained on.

  That of T0: the rows of its data set, or, of one with more than 500,000, an
  equal share of 500,000 for each of its prompts.
  """
  prompt = table.lookup(task)
  return float(prompt.rate or 1) if prompt else 1.0


for _prompt in table.prompts().values():
  _add(_prompt)
for _mixture in table.MIXTURES:
  seqio.MixtureRegistry.add(
    _mixture, [(task, rate(task)) for task in table.members(_mixture)]
  )
catalog.add_published(published.MIXTURE, published.TABLE)
