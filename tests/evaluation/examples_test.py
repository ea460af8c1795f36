"""Examples that are read, and how a batch is made of them."""

import numpy as np
import pytest
import seqio

from moe_lite.core.errors import UserError
from moe_lite.evaluation.examples import Example, ExampleReader, batch_of
from moe_lite.inference.padding import Shapes
from tests import tiny_run


@pytest.fixture(autouse=True)
def suite():
  tiny_run.add_suite()


def test_the_first_right_choices_of_every_task_are_read():
  tasks = seqio.get_mixture_or_task('tiny_score_eval').tasks
  reader = ExampleReader(tasks, tiny_run.LENGTHS)
  found = reader.read('validation', 4)
  assert {name: len(x) for name, x in found.items()} == {
    'tiny_pair': 2 * 4,
    'tiny_triple': 3 * 4,
  }
  for task in tasks:
    rows = [x.row for x in found[task.name[:-13]] if x.task is task]
    assert [int(row['idx'][0]) for row in rows] == [0, 1, 2, 3]
    assert all(row['is_correct'] for row in rows)


def test_tasks_without_right_choices_are_refused():
  columns = tiny_run.score_columns(0)
  columns['is_correct'] = [False] * len(columns['is_correct'])
  tiny_run.add_task('tiny_unlabelled_score_eval', columns)
  task = seqio.get_mixture_or_task('tiny_unlabelled_score_eval')
  with pytest.raises(UserError, match='no right choice in split'):
    ExampleReader([task], tiny_run.LENGTHS).read('validation', 2)


def test_a_batch_has_the_shapes_that_it_is_padded_to():
  task = seqio.get_mixture_or_task('tiny_pair_0_score_eval')
  reader = ExampleReader([task], tiny_run.LENGTHS)
  shapes = reader.shapes(4)
  assert shapes == Shapes(4, 16, 8)
  (examples,) = reader.read('validation', 2).values()
  batch = batch_of(examples, shapes)
  assert batch['encoder_input_tokens'].shape[0] == 4
  assert batch['decoder_target_tokens'].shape == (4, 8)
  for i, x in enumerate(examples):
    ids = batch['encoder_input_tokens'][i]
    np.testing.assert_array_equal(ids[ids > 0], x.row['inputs'])
  assert not batch['encoder_input_tokens'][2:].any()


def test_vectors_of_some_examples_alone_are_refused():
  task = seqio.get_mixture_or_task('tiny_pair_0_score_eval')
  row = {name: np.ones(2, np.int32) for name in ('inputs', 'targets')}
  vector = {'inputs_embedding': np.ones(3, np.float32)}
  examples = [Example(task, x) for x in (row, row | vector)]
  with pytest.raises(UserError, match='Some of tiny_pair_0_score_eval have'):
    batch_of(examples, Shapes(2, 8, 8))
