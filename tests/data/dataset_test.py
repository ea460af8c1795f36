"""Data sets: what is refused before a run begins."""

import dataclasses

import pytest

import tests.tiny_task  # noqa: F401  registers the tasks
from moe_lite.core.errors import UserError
from moe_lite.data.dataset import Dataset, check

DATASET = Dataset('tiny_mixture', {'inputs': 32, 'targets': 16}, batch_size=4)


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'mixture_or_task_name': 'tiny_mixtur'}, "Did you mean 'tiny_mixture'"),
    ({'split': 'trian'}, "no split 'trian'. Did you mean 'train'"),
    ({'use_cached': True}, 'seqio_additional_cache_dirs'),
    ({'task_feature_lengths': {'inputs': 8}}, "'targets'"),
    ({'task_feature_lengths': {'inputs': 8, 'targets': 0}}, 'positive'),
  ],
)
def test_mistakes_are_named(changes, message):
  with pytest.raises(UserError, match=message):
    check(dataclasses.replace(DATASET, **changes), 384)


@pytest.mark.parametrize(
  'size, allowed', [(258, 0), (259, 1), (486, 1), (487, 0)]
)
def test_an_embedding_may_have_rows_for_rounding_and_sentinels(size, allowed):
  if allowed:
    check(DATASET, size)
  else:
    with pytest.raises(UserError, match=f'{size} entries'):
      check(DATASET, size)
