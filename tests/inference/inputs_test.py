"""Inputs of a file and of a task."""

import json

import numpy as np
import pytest
import seqio

from moe_lite.core.errors import UserError
from moe_lite.inference import inputs
from moe_lite.inference.inputs import Example
from moe_lite.inference.padding import Input
from tests import tiny_run

FEATURE = tiny_run.FEATURES['inputs']
ENDING = tiny_run.FEATURES['targets']


def ids(text):
  return tiny_run.VOCABULARY.encode(text)


def test_a_text_file_has_an_input_on_each_line(tmp_path):
  path = tmp_path / 'inputs.txt'
  path.write_bytes(b'say red\r\n\n  \nsay blue and more\n')
  examples = inputs.of_file(str(path), FEATURE, limit=8)
  assert [x.text for x in examples] == [
    {'inputs': 'say red'},
    {'inputs': 'say blue and more'},
  ]
  assert [list(x.inputs.ids) for x in examples] == [
    ids('say red'),
    ids('say blue'),
  ]


def test_a_jsonl_file_has_an_object_on_each_line(tmp_path):
  path = tmp_path / 'inputs.jsonl'
  lines = [{'inputs': 'a\nb', 'more': 1}, {'inputs': 'c'}]
  path.write_text('\n'.join(map(json.dumps, lines)))
  examples = inputs.of_file(str(path), ENDING, limit=8)
  assert [x.text['inputs'] for x in examples] == ['a\nb', 'c']
  # The feature ends with EOS.
  assert list(examples[1].inputs.ids) == [*ids('c'), 1]


@pytest.mark.parametrize(
  'line', ['{"input": "a"}', 'a', '["a"]', '{"inputs": 5}']
)
def test_a_line_that_cannot_be_read_is_named(tmp_path, line):
  path = tmp_path / 'inputs.jsonl'
  path.write_text(f'{{"inputs": "a"}}\n{line}\n')
  with pytest.raises(UserError, match='inputs.jsonl, line 2: '):
    inputs.of_file(str(path), FEATURE, limit=8)


def test_a_file_that_is_not_there_is_named(tmp_path):
  with pytest.raises(UserError, match='INFER_INPUT = .* is not a file'):
    inputs.of_file(str(tmp_path), FEATURE, limit=8)


def test_a_task_brings_its_targets():
  tiny_run.add_suite()
  task = seqio.get_mixture_or_task('tiny_pair_0_score_eval')
  examples = inputs.of_task(task, 'validation', tiny_run.LENGTHS, False)
  columns = tiny_run.score_columns(0)
  assert [x.text for x in examples] == [
    {'inputs': source, 'targets': target}
    for source, target in zip(
      columns['inputs'], columns['targets'], strict=True
    )
  ]
  assert list(examples[0].inputs.ids) == ids(columns['inputs'][0])


def test_a_mixture_is_refused():
  tiny_run.add_suite()
  mixture = seqio.get_mixture_or_task('tiny_score_eval')
  with pytest.raises(UserError, match='is a mixture'):
    inputs.of_task(mixture, 'validation', tiny_run.LENGTHS, False)


def test_a_fingerprint_tells_inputs_apart():
  one = [Example({'inputs': 'a'}, Input([3, 4]))]
  same = [Example({'inputs': 'b'}, Input(np.array([3, 4])))]
  vector = np.ones(2, np.float32)
  others = [
    [Example({'inputs': 'a'}, Input([3, 5]))],
    [Example({'inputs': 'a'}, Input([3, 4], vector))],
    [Example({'inputs': 'a'}, Input([3, 4], 2 * vector))],
    one * 2,
  ]
  assert inputs.fingerprint(one) == inputs.fingerprint(same)
  assert len({inputs.fingerprint(x) for x in (one, *others)}) == 5
