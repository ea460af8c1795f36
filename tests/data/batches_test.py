"""Batches: their form, their order, and finding one's place again."""

import dataclasses

import numpy as np
import pytest

import tests.tiny_task  # noqa: F401  registers the tasks
from moe_lite.core import partitioning
from moe_lite.core.errors import UserError
from moe_lite.data.batches import Batches, with_shards
from moe_lite.data.dataset import Dataset, load

DATASET = Dataset('tiny_mixture', {'inputs': 32, 'targets': 16}, batch_size=4)


def batches(seed=0, **changes):
  """Opens a stream, which is what these tests take their time for."""
  dataset = dataclasses.replace(DATASET, **changes)
  return Batches(dataset, partitioning.make_mesh((1, 1)), seed)


def take(stream, count):
  return [
    {name: np.array(x) for name, x in next(stream).items()}
    for _ in range(count)
  ]


def assert_equal(a, b):
  for x, y in zip(a, b, strict=True):
    assert x.keys() == y.keys()
    for name in x:
      np.testing.assert_array_equal(x[name], y[name])


@pytest.fixture(scope='module')
def first():
  """The first batches of seed 0."""
  return take(batches(0), 4)


@pytest.mark.parametrize('packing', [True, False])
def test_batches_have_the_form_that_models_take(packing):
  (batch,) = take(batches(packing=packing), 1)
  assert batch['encoder_input_tokens'].shape == (4, 32)
  assert batch['decoder_target_tokens'].shape == (4, 16)
  assert ('encoder_segment_ids' in batch) == packing
  assert {x.dtype for x in batch.values()} == {np.dtype('int32')}
  targets, inputs = (batch[f'decoder_{n}_tokens'] for n in ('target', 'input'))
  first = inputs[:, 0]
  assert not first.any() and targets.any()
  if packing:
    assert batch['encoder_segment_ids'].max() > 1


def test_the_seed_decides_everything(first):
  assert_equal(first[:3], take(batches(0), 3))
  other = take(batches(1), 3)
  name = 'encoder_input_tokens'
  assert any(
    (a[name] != b[name]).any() for a, b in zip(first[:3], other, strict=True)
  )


@pytest.mark.parametrize('save_position', [True, False])
def test_a_restored_stream_goes_on_where_it_stood(save_position):
  """Also past the end of the data, and with no saved state, by reading."""
  stream = batches(save_position=save_position)
  take(stream, 45)
  position = stream.position()
  assert bool(position) == save_position
  expected = take(stream, 5)
  again = batches(save_position=save_position)
  assert again.restore(position, 45) == save_position
  assert_equal(expected, take(again, 5))


@pytest.fixture(scope='module')
def other_position():
  """The position in another task's stream."""
  return batches(mixture_or_task_name='tiny_task').position()


@pytest.mark.parametrize('whose', ['of another task', 'damaged'])
def test_a_useless_position_is_read_past(whose, first, other_position):
  stream = batches(save_position=True)
  position = other_position
  if whose == 'damaged':
    position = {shard: held[:-9] for shard, held in position.items()}
  assert not stream.restore(position, 3)
  assert_equal(first[3:], take(stream, 1))


def test_a_batch_is_its_shards_one_after_the_other():
  apart = {'data_shards': 2, 'packing': False}
  whole = take(batches(**apart), 3)
  dataset = dataclasses.replace(DATASET, **apart)
  parts = [iter(load(dataset, 0, shard, 2)) for shard in (0, 1)]
  for batch in whole:
    pieces = [next(part) for part in parts]
    for name, rows in batch.items():
      halves = [piece[name].numpy() for piece in pieces]
      assert halves[0].shape[0] == 2
      np.testing.assert_array_equal(rows, np.concatenate(halves))
  first = whole[0]['encoder_input_tokens']
  assert (first[:2] != first[2:]).any()


@pytest.mark.slow
def test_each_shard_has_its_own_position():
  """Also where one of them is lost, and only it is read again."""
  # Packed rows are among what the tests above restore.
  apart = {'data_shards': 2, 'packing': False}
  stream = batches(**apart)
  take(stream, 3)
  position = stream.position()
  assert list(position) == [f'shard_{i}_of_2' for i in range(2)]
  assert stream.shard_names() == list(position)
  expected = take(stream, 3)
  again = batches(**apart)
  assert again.restore(position, 3)
  assert_equal(expected, take(again, 3))
  del position['shard_1_of_2']
  again = batches(**apart)
  assert not again.restore(position, 3)
  assert_equal(expected, take(again, 3))


def test_a_run_keeps_its_number_of_data_shards():
  assert with_shards(DATASET).data_shards == 1  # One process.
  assert with_shards(DATASET, recorded=2).data_shards == 2
  given = dataclasses.replace(DATASET, data_shards=4)
  assert with_shards(given, recorded=2).data_shards == 4
  with pytest.raises(UserError, match='DATA_SHARDS = 3 .*must divide.* = 4'):
    with_shards(DATASET, recorded=3)
  for wrong in (0, 3, 8, 2.0):
    with pytest.raises(UserError, match='one of 1, 2, 4'):
      with_shards(dataclasses.replace(DATASET, data_shards=wrong))


def test_an_empty_split_is_an_error():
  with pytest.raises(UserError, match="'none'.*empty"):
    next(batches(split='none'))
  with pytest.raises(UserError, match=r'fewer rows.* = 4 / DATA_SHARDS = 2'):
    next(batches(split='none', data_shards=2))
