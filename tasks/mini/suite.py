"""The mini suite: P3 in miniature, generated on the spot.

Importing this module registers the tasks `mini_<data set>_<template>`, their
`_score_eval` twins, and the mixtures

  mini_train                 the training data sets, at P3's rates
  mini_train_score_eval      the same data sets, for rank classification
  mini_train_one_score_eval  the first prompt of each of them
  mini_eval_score_eval       the held-out data sets, for rank classification
  mini_<data set>            one data set, and mini_<data set>_score_eval
  mini_pretrain              span corruption of raw text, to make a base

Rows have P3's feature names. They are generated from seeds when they are first
read.
"""

import functools
from collections.abc import Iterator

import seqio

from moe_lite.data import catalog
from tasks import prompted, span_corruption
from tasks.mini import data_sets, prompts, text, vocabulary, world

ROWS = {'train': 2000, 'validation': 1000}
PASSAGES = {'train': 200_000, 'validation': 2_000}
# As in P3: the templates of a larger data set share this number.
RATE_CAP = 500_000

VOCABULARY = vocabulary.vocabulary()
FEATURES = {
  'inputs': seqio.Feature(VOCABULARY, add_eos=False),
  'targets': seqio.Feature(VOCABULARY, add_eos=True),
}


def _examples(
  data_set: prompts.DataSet, template: prompts.Template, split: str
) -> Iterator[prompted.Example]:
  for row in _rows(data_set.name, split):
    choices = template.choices(row)
    yield prompted.Example(template.prompt(row), choices[row.answer], choices)


@functools.cache
def _rows(name: str, split: str) -> list[prompts.Row]:
  """The rows of a data set, which all of its templates share."""
  (data_set,) = (x for x in data_sets.DATA_SETS if x.name == name)
  return data_set.draw(split, ROWS[split])


def _passages(split: str) -> dict[str, list]:
  seed = list(PASSAGES).index(split)
  return {'text': list(text.Writer(seed).passages(PASSAGES[split]))}


def _add_data_set(data_set: prompts.DataSet) -> None:
  for name, template in data_set.templates.items():
    prompted.add(
      catalog.TaskInfo(
        name=f'mini_{data_set.name}_{name}',
        dataset=f'mini_{data_set.name}',
        cluster=data_set.cluster,
        template=name,
        chance=100 / (len(template.labels) or data_set.num_choices),
        held_out=data_set.held_out,
      ),
      functools.partial(_examples, data_set, template),
      splits=tuple(ROWS),
      features=FEATURES,
    )


def _add_pretraining() -> None:
  seqio.TaskRegistry.add(
    'mini_pretrain_span_corruption',
    source=prompted.column_source(_passages, tuple(PASSAGES)),
    preprocessors=(
      functools.partial(seqio.preprocessors.rekey, key_map={'targets': 'text'}),
      seqio.preprocessors.tokenize,
      # Spans are drawn after the cache, so every epoch has others.
      seqio.CacheDatasetPlaceholder(),
      functools.partial(
        span_corruption.corrupt_spans, salient_words=world.content_words()
      ),
      seqio.preprocessors.append_eos,
    ),
    output_features=FEATURES,
    metric_fns=[],
  )


def rate(data_set: prompts.DataSet) -> int:
  """The rate of each task of this data set in the mixture, by P3's rule."""
  rows = ROWS['train']
  return rows if rows <= RATE_CAP else RATE_CAP // len(data_set.templates)


def _names(data_set: prompts.DataSet, suffix: str = '') -> list[str]:
  return [f'mini_{data_set.name}_{name}{suffix}' for name in data_set.templates]


def _add_mixtures() -> None:
  training, held_out = data_sets.TRAINING, data_sets.HELD_OUT
  seqio.MixtureRegistry.add(
    'mini_train', [(n, rate(s)) for s in training for n in _names(s)]
  )
  for name, members, most in (
    ('mini_train_score_eval', training, None),
    ('mini_train_one_score_eval', training, 1),
    ('mini_eval_score_eval', held_out, None),
  ):
    twins = [n for s in members for n in _names(s, catalog.SCORE_EVAL)[:most]]
    seqio.MixtureRegistry.add(name, twins, default_rate=1.0)
  for data_set in data_sets.DATA_SETS:
    for suffix in ('', catalog.SCORE_EVAL):
      seqio.MixtureRegistry.add(
        f'mini_{data_set.name}{suffix}',
        _names(data_set, suffix),
        default_rate=1.0,
      )
  seqio.MixtureRegistry.add(
    'mini_pretrain', ['mini_pretrain_span_corruption'], default_rate=1.0
  )


for _data_set in data_sets.DATA_SETS:
  _add_data_set(_data_set)
_add_pretraining()
_add_mixtures()

TASKS: tuple[catalog.TaskInfo, ...] = tuple(
  info for info in catalog.tasks() if info.name.startswith('mini_')
)
