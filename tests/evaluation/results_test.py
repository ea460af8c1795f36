"""The fields of results are the keys of results.json."""

from moe_lite.evaluation import results_file
from tests.evaluation.outcomes import evaluation, task, whole


def test_the_file_has_these_keys_in_this_order():
  content = results_file.to_json(whole())
  assert list(content) == [
    *('complete', 'checkpoint', 'settings', 'datasets', 'columns', 'average'),
    *('published', 'tasks', 'command', 'device_kind', 'devices'),
  ]
  assert list(content['checkpoint']) == [
    *('checkpoint', 'step', 'base', 'method', 'trainable_parameters'),
    *('base_parameters', 'trainable_fingerprint'),
  ]
  assert content['checkpoint']['base'] == {
    'source': 'mini',
    'fingerprint': 'abc',
  }
  assert list(content['settings']) == [
    *('mixture_or_task_name', 'split', 'task_feature_lengths', 'use_cached'),
    *('length_normalized', 'decoder', 'num_decodes', 'seed', 'base_dtype'),
    *('vocabulary', 'activation_dtype'),
  ]
  assert list(content['datasets'][0]) == [
    *('dataset', 'metric', 'column', 'cluster', 'held_out', 'prompts'),
    *('median', 'mean', 'q1', 'q3', 'min', 'max', 'chance'),
  ]
  assert list(content['columns'][0]) == [
    *('column', 'datasets', 'median', 'mean', 'chance'),
  ]
  assert list(content['average']) == ['median', 'mean', 'chance']
  assert list(content['published']) == ['source', 'averages', 'marks']
  assert [list(row) for row in content['published']['averages']] == 2 * [
    [
      *('name', 'average', 'mark', 'convention', 'columns', 'dropped'),
      *('steps', 'batch', 'source', 'scores'),
    ]
  ]
  ranked, free = content['tasks']
  first = [
    *('task', 'dataset', 'column', 'cluster', 'template', 'held_out'),
    *('chance', 'kind', 'metric', 'value', 'metrics', 'examples'),
  ]
  assert list(ranked) == [
    *first,
    *('rows', 'none_correct', 'several_correct', 'trimmed_targets', 'seconds'),
  ]
  # What only ranking counts is left out. What is unknown is null.
  assert list(free) == [*first, 'seconds']
  assert free['column'] is None and free['chance'] is None


def test_an_evaluation_took_as_long_as_its_tasks():
  found = evaluation([task('a', 1.0, seconds=2.0), task('a', 3.0, seconds=0.5)])
  assert found.seconds == 2.5 and found.device_kind == 'cpu'
