"""Sentences: the first example of each data set, routed token by token."""

import pytest
import seqio

from moe_lite.evaluation.examples import ExampleReader
from moe_lite.inference.source import ModelSource
from moe_lite.routing_report import sentences
from tests import tiny_run

KEY = 'encoder/layers_0/attention/key'


@pytest.fixture(scope='module')
def read(tmp_path_factory):
  """A run, a reader, and examples that it read."""
  tiny_run.add_suite()
  base, run = tiny_run.write(tmp_path_factory.mktemp('sentences'), scale=4.0)
  tasks = seqio.get_mixture_or_task('tiny_score_eval').tasks
  reader = ExampleReader(tasks, tiny_run.LENGTHS)
  trained = ModelSource(tiny_run.model(), run, base, base_dtype='float32')
  return trained.load(), reader, reader.read('validation', 2)


def test_one_example_of_each_data_set_is_routed(read):
  found = sentences.route(*read, most=6)
  assert [x.dataset for x in found] == ['tiny_pair', 'tiny_triple']
  _, _, examples = read
  for sentence in found:
    first = examples[sentence.dataset][0]
    assert sentence.task == first.task.name
    text = tiny_run.VOCABULARY.decode(first.row['inputs'].tolist())
    assert ''.join(sentence.routing.tokens) == text
    assert sentence.routing.target_tokens[-1] == '</s>'
  assert len(sentences.route(*read, most=1)) == 1
  assert not sentences.route(*read, most=0)


def test_rows_hold_the_likeliest_expert_of_every_token(read):
  (sentence, _) = sentences.route(*read, most=2)
  rows = sentences.rows([sentence], [KEY])
  routed = sentence.routing.routers[KEY]
  assert [row['token'] for row in rows] == list(routed.tokens)
  assert [row['position'] for row in rows] == list(range(len(rows)))
  for row, p in zip(rows, routed.probabilities, strict=True):
    assert row['router'] == KEY and row['dataset'] == 'tiny_pair'
    assert row['probability'] == p[row['expert']] == p.max()
