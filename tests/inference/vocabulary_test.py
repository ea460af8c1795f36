"""Ids without SeqIO are SeqIO's."""

import numpy as np
import pytest
import seqio

from moe_lite.core.errors import UserError
from moe_lite.inference import vocabulary
from tasks.mini import suite
from tasks.mini import vocabulary as mini_vocabulary

TEXTS = [
  'Is a robin a bird?',
  'A Heron  eats fish,\nor (maybe) 12 eels: "naïve" — 東京!',
  '',
  ' leading and trailing ',
  'The <extra_id_0> walks <extra_id_31>ly, <extra_id_32> not.',
  'unbelievable x' * 9,
]


@pytest.fixture(scope='module', params=[0, mini_vocabulary.EXTRA_IDS])
def both(request):
  path, count = mini_vocabulary.PATH, request.param
  theirs = seqio.SentencePieceVocabulary(path, extra_ids=count)
  return vocabulary.SentencePiece(path, count), theirs


def test_ids_are_those_of_seqio(both):
  ours, theirs = both
  assert ours.size == theirs.vocab_size
  for text in TEXTS:
    ids = ours.encode(text)
    assert ids == list(theirs.encode(text))
    np.testing.assert_array_equal(ids, theirs.encode_tf(text).numpy())
    assert ours.decode(ids) == theirs.decode(ids)
  # A network may write ids that the vocabulary lacks.
  assert ours.decode([15, 9999]) == theirs.decode([15, 9999])


def test_inputs_and_targets_end_as_the_tasks_do():
  says = vocabulary.describe(suite.FEATURES['inputs'])
  assert says == {'inputs_eos': False, 'extra_ids': 32}
  text = vocabulary.Text(mini_vocabulary.vocabulary(), 1280, False)
  task = seqio.get_mixture_or_task('mini_who_blank')
  row = next(iter(task.get_dataset(split='validation')))
  as_text = lambda name: row[f'{name}_pretokenized'].numpy().decode()
  assert text.inputs(as_text('inputs')) == row['inputs'].numpy().tolist()
  assert text.targets(as_text('targets')) == row['targets'].numpy().tolist()


def test_an_end_that_a_vocabulary_adds_is_taken_for_ours():
  class Ending:
    encode = lambda self, text: [5] * len(text) + [1]
    decode = lambda self, ids: 'x' * len(ids)

  text = vocabulary.Text(Ending(), 10, True)
  assert text.inputs('ab') == text.targets('ab') == [5, 5, 1]
  assert text.pieces([5, 1]) == ['x', '</s>']
  text = vocabulary.Text(Ending(), 10, False)
  assert text.inputs('ab') == [5, 5]


def test_mistakes_are_named():
  text = vocabulary.Text(mini_vocabulary.vocabulary(), 100, False)
  with pytest.raises(UserError, match='has the id .* embedding 100 rows'):
    text.inputs('unbelievable birds')
  with pytest.raises(UserError, match="The input '' is empty"):
    text.inputs('')
  with pytest.raises(UserError, match='3 is not a text'):
    text.targets(3)
