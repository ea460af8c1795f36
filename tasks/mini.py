"""The mini suite: P3 in miniature, generated on the spot.

Importing this module registers, beside the tasks `mini_<data set>_<template>`
and their `_score_eval` twins, the mixtures

  mini_train             training data sets, each task at its P3 rate
  mini_train_score_eval  the same ones for rank classification
  mini_eval_score_eval   the held-out data sets for rank classification
  mini_pretrain          span corruption of raw text, for making a base

Rows have P3's feature names and are written from seeds when first asked for.
"""

import functools

import seqio
import tensorflow as tf

from tasks import (
  catalog,
  mini_prompts,
  mini_text,
  mini_vocabulary,
  mini_world,
  rank_classification,
  span_corruption,
)

ROWS = {'train': 2000, 'validation': 1000}
PASSAGES = {'train': 200_000, 'validation': 2_000}
RATE_CAP = 500_000  # P3's: a larger data set shares it among its templates.

VOCABULARY = mini_vocabulary.vocabulary()
FEATURES = {
  'inputs': seqio.Feature(VOCABULARY, add_eos=False),
  'targets': seqio.Feature(VOCABULARY, add_eos=True),
}


def _examples(data_set, template, split: str) -> dict[str, list]:
  """Rows in P3's form, a list a column."""
  rows = data_set.draw(split, ROWS[split])
  choices = [template.choices(row) for row in rows]
  return {
    'inputs': [template.prompt(row) for row in rows],
    'targets': [c[row.answer] for c, row in zip(choices, rows, strict=True)],
    'answer_choices': [list(c) for c in choices],
  }


def _score_examples(data_set, template, split: str) -> dict[str, list]:
  """One row per answer choice."""
  examples = _examples(data_set, template, split)
  columns = {
    key: [] for key in ('idx', 'inputs', 'targets', 'is_correct', 'weight')
  }
  for i, target in enumerate(examples['targets']):
    for j, choice in enumerate(examples['answer_choices'][i]):
      columns['idx'].append([i, j])
      columns['inputs'].append(examples['inputs'][i])
      columns['targets'].append(choice)
      columns['is_correct'].append(choice == target)
      columns['weight'].append(1.0)
  return columns


def _passages(split: str) -> dict[str, list]:
  seed = list(PASSAGES).index(split)
  return {'text': list(mini_text.Writer(seed).passages(PASSAGES[split]))}


def _source(columns, num_rows: dict[str, int]) -> seqio.DataSourceInterface:
  """A source whose columns are written when a split is first read."""
  columns = functools.cache(columns)

  def dataset(
    split: str, shuffle_files: bool = False, seed: int | None = None
  ) -> tf.data.Dataset:
    del shuffle_files, seed  # Rows are drawn at random, always the same.
    return tf.data.Dataset.from_tensor_slices(columns(split))

  # SeqIO's sources may not know their size; its protocol for them does.
  return seqio.FunctionDataSource(  # pyright: ignore[reportReturnType]
    dataset, splits=tuple(num_rows), num_input_examples=num_rows
  )


_PREPROCESSORS = (
  seqio.preprocessors.tokenize,
  seqio.CacheDatasetPlaceholder(),
  seqio.preprocessors.append_eos,
)


def _add_data_set(data_set: mini_prompts.DataSet) -> None:
  for name, template in data_set.templates.items():
    task_name = f'mini_{data_set.name}_{name}'
    choices = len(template.labels) or data_set.num_choices
    seqio.TaskRegistry.add(
      task_name,
      source=_source(
        functools.partial(_examples, data_set, template), dict(ROWS)
      ),
      preprocessors=_PREPROCESSORS,
      output_features=FEATURES,
      metric_fns=[],
    )
    seqio.TaskRegistry.add(
      task_name + catalog.SCORE_EVAL,
      source=_source(
        functools.partial(_score_examples, data_set, template),
        {split: rows * choices for split, rows in ROWS.items()},
      ),
      preprocessors=_PREPROCESSORS,
      output_features=FEATURES,
      postprocess_fn=rank_classification.keep_row,
      metric_fns=[rank_classification.accuracy],
    )
    catalog.add(
      catalog.TaskInfo(
        name=task_name,
        dataset=f'mini_{data_set.name}',
        cluster=data_set.cluster,
        template=name,
        chance=100 / choices,
        held_out=data_set.held_out,
      )
    )


def _add_pretraining() -> None:
  seqio.TaskRegistry.add(
    'mini_pretrain_span_corruption',
    source=_source(_passages, dict(PASSAGES)),
    preprocessors=(
      functools.partial(seqio.preprocessors.rekey, key_map={'targets': 'text'}),
      seqio.preprocessors.tokenize,
      # Spans are drawn after the cache, hence anew in every epoch.
      seqio.CacheDatasetPlaceholder(),
      functools.partial(
        span_corruption.corrupt_spans, salient_words=mini_world.content_words()
      ),
      seqio.preprocessors.append_eos,
    ),
    output_features=FEATURES,
    metric_fns=[],
  )


def rate(data_set: mini_prompts.DataSet) -> int:
  """How often a task of this data set is drawn, by P3's rule."""
  rows = ROWS['train']
  return rows if rows <= RATE_CAP else RATE_CAP // len(data_set.templates)


def _names(data_set: mini_prompts.DataSet, suffix: str = '') -> list[str]:
  return [f'mini_{data_set.name}_{name}{suffix}' for name in data_set.templates]


def _add_mixtures() -> None:
  training, held_out = mini_prompts.TRAINING, mini_prompts.HELD_OUT
  seqio.MixtureRegistry.add(
    'mini_train', [(n, rate(s)) for s in training for n in _names(s)]
  )
  for name, data_sets in (
    ('mini_train_score_eval', training),
    ('mini_eval_score_eval', held_out),
  ):
    twins = [n for s in data_sets for n in _names(s, catalog.SCORE_EVAL)]
    seqio.MixtureRegistry.add(name, twins, default_rate=1.0)
  seqio.MixtureRegistry.add(
    'mini_pretrain', ['mini_pretrain_span_corruption'], default_rate=1.0
  )


for _data_set in mini_prompts.DATA_SETS:
  _add_data_set(_data_set)
_add_pretraining()
_add_mixtures()

TASKS: tuple[catalog.TaskInfo, ...] = tuple(
  info for info in catalog.tasks() if info.name.startswith('mini_')
)
