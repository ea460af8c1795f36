"""Examples with their choices: which are taken, and what their arrays hold."""

import dataclasses

import numpy as np
import pytest
import seqio

from moe_lite.core import partitioning
from moe_lite.core.errors import UserError
from moe_lite.data import catalog
from moe_lite.data.batches import Batches
from moe_lite.data.choices import ChoiceDataset
from tasks import prompted
from tests.tiny_task import VOCABULARY

LENGTHS = {'inputs': 16, 'targets': 8}
COLOURS = ('red', 'blue', 'green')


def _rows(prompt, split):
  """Every second example has two choices, and no `late` one is the first."""
  for i in range(20 if split == 'train' else 3):
    if i or prompt != 'late':
      yield prompted.Example(
        f'{prompt} {i}', COLOURS[i % 2], COLOURS[: 2 + i % 2], row=i
      )


def _add(name, dataset, examples):
  prompted.add(
    catalog.TaskInfo(name, dataset, 'colours', name, None, held_out=False),
    examples,
    splits=('train', 'validation'),
    features={
      'inputs': seqio.Feature(VOCABULARY, add_eos=False),
      'targets': seqio.Feature(VOCABULARY, add_eos=True),
    },
  )


@pytest.fixture(scope='module', autouse=True)
def registered():
  for prompt in ('early', 'late'):
    _add(
      f'choices_{prompt}',
      'choices',
      lambda split, prompt=prompt: _rows(prompt, split),
    )
  seqio.MixtureRegistry.add(
    'choices_score_eval',
    ['choices_early_score_eval', 'choices_late_score_eval'],
    default_rate=1.0,
  )


DATASET = ChoiceDataset(
  'choices_score_eval', LENGTHS, batch_size=4, most_choices=3, shots=5
)


def taken(dataset):
  """The numbers of the examples of each prompt, from their inputs."""
  found = {}
  for example in dataset.examples():
    ids = [int(i) for i in example['encoder_input_tokens'] if i > 0]
    prompt, _, number = VOCABULARY.decode(ids).partition(' ')
    found.setdefault(prompt, []).append(int(number))
  return found


def test_prompts_share_the_examples_of_their_data_set():
  found = taken(DATASET)
  assert len(found['early']) == 5
  assert set(found['late']) == set(found['early']) - {0}
  assert taken(DATASET) == found


def test_another_seed_takes_others_and_more_shots_keep_those():
  early = lambda **changes: set(
    taken(dataclasses.replace(DATASET, **changes))['early']
  )
  assert early(shots_seed=1) != early()
  assert early() < early(shots=9) < early(shots=None) == set(range(20))
  # The first example is among five for some seed; `late` then has four.
  seeds = [s for s in range(9) if 0 in early(shots_seed=s)]
  late = taken(dataclasses.replace(DATASET, shots_seed=seeds[0]))['late']
  assert len(late) == 4


def test_an_example_has_its_choices_in_order():
  whole = dataclasses.replace(DATASET, shots=None)
  example = whole.examples()[0]
  decode = lambda ids: VOCABULARY.decode([int(i) for i in ids if i > 1])
  targets = example['decoder_target_tokens']
  assert targets.shape == (3, 8)
  assert [decode(x) for x in targets] == ['red', 'blue', '']
  np.testing.assert_array_equal(example['choice_is_right'], [1, 0, 0])
  assert (targets[:2] == 1).sum() == 2 and not targets[2].any()
  np.testing.assert_array_equal(
    example['decoder_input_tokens'][:, 1:], targets[:, :-1]
  )
  assert not example['decoder_input_tokens'][:, 0].any()


def keys(batches):
  return [bytes(x) for b in batches for x in b['encoder_input_tokens']]


def test_an_epoch_has_every_example_once_and_another_order():
  first = next(DATASET.load(seed=0).as_numpy_iterator())
  assert {name: (x.shape, x.dtype) for name, x in first.items()} == {
    'encoder_input_tokens': ((4, 16), np.int32),
    'decoder_input_tokens': ((4, 3, 8), np.int32),
    'decoder_target_tokens': ((4, 3, 8), np.int32),
    'choice_is_right': ((4, 3), np.int32),
  }
  size = len(DATASET.examples())
  read = lambda seed: keys(DATASET.load(seed).take(size).as_numpy_iterator())
  once = read(0)
  epochs = [once[i * size : (i + 1) * size] for i in range(4)]
  assert all(len(set(epoch)) == size for epoch in epochs)
  assert epochs[0] != epochs[1]
  assert read(0) == once != read(1)


def test_shards_have_examples_of_their_own():
  parts = [
    set(keys(DATASET.load(0, shard, 2).take(9).as_numpy_iterator()))
    for shard in (0, 1)
  ]
  assert not parts[0] & parts[1]
  assert len(parts[0] | parts[1]) == len(DATASET.examples())
  one = dataclasses.replace(
    DATASET, shots=1, mixture_or_task_name='choices_early_score_eval'
  )
  with pytest.raises(UserError, match='DATA_SHARDS = 2, but there are only 1'):
    one.load(0, 0, 2)
    one.load(0, 1, 2)


def test_a_stream_is_restored_in_the_midst_of_an_epoch():
  mesh = partitioning.make_mesh((1, 1))
  dataset = dataclasses.replace(DATASET, data_shards=2)
  stream = Batches(dataset, mesh, seed=0, vocab_size=384)
  for _ in range(3):
    next(stream)
  position, wanted = stream.position(), [next(stream) for _ in range(4)]
  again = Batches(dataset, mesh, seed=0, vocab_size=384)
  assert again.restore(position, 3)
  for batch in wanted:
    assert batch['decoder_target_tokens'].shape == (4, 3, 8)
    for name, rows in next(again).items():
      np.testing.assert_array_equal(rows, batch[name])


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'packing': True}, '--gin.PACKING=False'),
    ({'task_ids': 'task'}, '--gin.TASK_IDS=None'),
    ({'most_choices': 0}, 'NUM_CHOICES = 0'),
    ({'shots': 0}, 'SHOTS = 0'),
  ],
)
def test_settings_that_do_not_go_with_choices_are_refused(changes, message):
  with pytest.raises(UserError, match=message):
    dataclasses.replace(DATASET, **changes)


@pytest.mark.parametrize(
  'changes, message',
  [
    (
      {'mixture_or_task_name': 'choices_early'},
      "'choices_early' has no answer choices.*'choices_early_score_eval'",
    ),
    (
      {'mixture_or_task_name': 'tiny_task'},
      "'tiny_task' has no answer choices.*runs/finetune.gin",
    ),
    ({'most_choices': 2}, 'example 1 has 3 choices.*NUM_CHOICES=3'),
  ],
)
def test_what_cannot_be_trained_on_is_one_message(changes, message):
  dataset = dataclasses.replace(DATASET, shots=None, **changes)
  with pytest.raises(UserError, match=message) as error:
    dataset.load(0)
  assert '\n' not in str(error.value)


@pytest.mark.parametrize(
  'change, message',
  [
    ({'is_correct': [False, False]}, 'has no right choice'),
    ({'inputs': ['one', 'other']}, 'another input for each choice'),
    ({'idx': [[0, 1], [0, 1]]}, r'two rows with idx \(0, 1\)'),
  ],
)
def test_rows_that_do_not_belong_together_are_refused(change, message):
  columns = {
    'idx': [[0, 0], [0, 1]],
    'inputs': ['one', 'one'],
    'targets': ['red', 'blue'],
    'is_correct': [True, False],
    **change,
  }
  name = f'choices_{next(iter(change))}'
  seqio.TaskRegistry.add(
    name,
    source=prompted.column_source(lambda split: columns, ('train',)),
    preprocessors=[
      seqio.preprocessors.tokenize,
      seqio.preprocessors.append_eos,
    ],
    output_features=seqio.get_mixture_or_task('tiny_task').output_features,
  )
  with pytest.raises(UserError, match=f"Task '{name}'.*{message}"):
    dataclasses.replace(DATASET, mixture_or_task_name=name).load(0)
