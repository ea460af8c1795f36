"""Numbers beside tokens under T5X: its batches have ours."""

import numpy as np
import pytest

from moe_lite.core.errors import UserError
from moe_lite.data import dataset, task_ids
from tests.integrations.t5x_commands import losses, needs_t5x, train

LENGTHS = {'inputs': 64, 'targets': 32}
FOUR_STEPS = ('--gin.TRAIN_STEPS=4', '--gin.LOG_PERIOD=1')


@pytest.mark.t5x
@needs_t5x
def test_every_token_bears_the_number_that_it_has_in_our_loop():
  import seqio

  import tasks.mini  # noqa: F401  registers the tasks
  from moe_lite.integrations import t5x_data, t5x_parts

  config = t5x_parts.function('utils', 'DatasetConfig')(
    mixture_or_task_name=t5x_data.numbered('mini_train', 'dataset'),
    task_feature_lengths=t5x_data.lengths(LENGTHS, 'dataset'),
    split='train',
    batch_size=64,
    shuffle=False,
    seed=0,
    pack=True,
  )
  get_dataset = t5x_parts.function('utils', 'get_dataset')
  theirs = get_dataset(config, 0, 1, task_ids.FeatureConverter)
  theirs = next(theirs.as_numpy_iterator())
  data = dataset.Dataset(
    'mini_train', LENGTHS, batch_size=64, shuffle=False, task_ids='dataset'
  )
  ours = next(dataset.load(data, seed=0).as_numpy_iterator())

  def numbers(batch):
    """From an example's tokens to the number of each."""
    found = {}
    for ids, of_task, segments in zip(
      batch['encoder_input_tokens'],
      batch['encoder_task_ids'],
      batch['encoder_segment_ids'],
      strict=True,
    ):
      for segment in range(1, segments.max() + 1):
        tokens = tuple(ids[segments == segment].tolist())
        found[tokens] = of_task[segments == segment].tolist()
    return found

  names = task_ids.names(seqio.get_mixture_or_task('mini_train'), 'dataset')
  assert set(theirs['encoder_task_ids'].ravel()) <= {*range(len(names) + 1)}
  for side, tokens in (('encoder', 'input'), ('decoder', 'target')):
    np.testing.assert_array_equal(
      theirs[f'{side}_task_ids'] > 0, theirs[f'{side}_{tokens}_tokens'] > 0
    )
  wanted, found = numbers(ours), numbers(theirs)
  shared = wanted.keys() & found.keys()
  assert len(shared) > 50
  assert {x: found[x] for x in shared} == {x: wanted[x] for x in shared}


@pytest.mark.t5x
@needs_t5x
def test_runs_with_numbers_train_as_those_without(tmp_path):
  by = "--gin.TASK_IDS='dataset'"
  train(tmp_path / 'plain', 'mini', 'mov', *FOUR_STEPS, '--gin.NUM_EXPERTS=2')
  train(
    tmp_path / 'numbered', 'mini', 'mov', *FOUR_STEPS, '--gin.NUM_EXPERTS=2', by
  )
  plain, numbered = (losses(tmp_path / x) for x in ('plain', 'numbered'))
  assert plain == numbered and len(plain) == 4


@pytest.mark.t5x
@needs_t5x
def test_tasks_without_a_number_are_refused():
  import tasks.mini  # noqa: F401  registers the tasks
  from moe_lite.integrations import t5x_data

  with pytest.raises(UserError, match='which has no number'):
    t5x_data.numbered('mini_eval_score_eval', 'dataset', like='mini_train')
