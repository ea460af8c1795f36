"""P3: the public pool of prompts, and the mixtures of T0.

Importing this module reads `p3_table.csv` and no data. It registers the 592
tasks of T0's definitions, the 5 that were published beside them, and the
`_score_eval` twin of each task that has answer choices. A twin has one row for
each choice. It also registers the mixtures

  t0_train, t0+_train, t0++_train, t0_train_one_og_prompt,
  t0_train_all_og_prompts     for training, each task at the rate of T0
  t0_eval_score_eval          the held-out data sets, for rank classification
  t0_train_score_eval, bias_fairness_eval_score_eval
  p3_<data set>               the prompts of one data set that are in a mixture
                              of T0, at its rates
  p3_<data set>_score_eval    their twins, for rank classification

`tasks.p3.folder` says where the data lie, and `tasks.p3.vocabulary` which
vocabulary they are read with. Source: T0 (arXiv 2110.08207).
"""

import seqio
import tensorflow as tf

from moe_lite.data import catalog
from tasks import metrics, rank_classification
from tasks.p3 import hub, published, source, table, vocabulary

_VOCABULARY = vocabulary.Vocabulary()
FEATURES = {
  'inputs': seqio.Feature(_VOCABULARY, add_eos=False),
  'targets': seqio.Feature(_VOCABULARY, add_eos=True),
}
# The three rounds of ANLI are one column of the table of results.
_ANLI = 'anli'


def retokenize(dataset: tf.data.Dataset) -> tf.data.Dataset:
  """Tokenizes the text of rows anew if the vocabulary is not T5's."""
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
# The number of rows in the shuffle buffer of a task. With SeqIO's 1000, 313
# tasks would read 313,000 rows before the first batch, and save them with the
# position in the data. Mixing so many tasks shuffles more than their buffers
# do.
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
      hub=hub.REPOSITORY,
    )
  )


def rate(task: str) -> float:
  """The rate at which training mixtures draw a task, which is that of T0.

  The rate is the number of rows of the task's data set. If these are more than
  500,000, it is 500,000 divided by the number of prompts of the data set. It is
  1 for a task that is not trained on.
  """
  prompt = table.lookup(task)
  return float(prompt.rate or 1) if prompt else 1.0


for _prompt in table.prompts().values():
  _add(_prompt)
for _mixture in table.MIXTURES:
  seqio.MixtureRegistry.add(
    _mixture, [(task, rate(task)) for task in table.members(_mixture)]
  )
for _data_set, _tasks in table.data_sets().items():
  seqio.MixtureRegistry.add(
    f'p3_{_data_set}', [(task, rate(task)) for task in _tasks]
  )
  _twins = [table.prompts()[task].twin for task in _tasks]
  if _twins := [twin for twin in _twins if twin in seqio.TaskRegistry.names()]:
    seqio.MixtureRegistry.add(
      f'p3_{_data_set}{catalog.SCORE_EVAL}', _twins, default_rate=1.0
    )
catalog.add_published(published.MIXTURE, published.TABLE)
