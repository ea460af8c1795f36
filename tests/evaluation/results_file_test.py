"""The file results.json: what is read again, and what is refused."""

import json

import pytest

from moe_lite.core.errors import UserError
from moe_lite.evaluation import results, results_file
from tests.evaluation.outcomes import whole


def test_what_was_written_is_read_again(tmp_path):
  path = tmp_path / results.JSON
  path.write_text(results_file.text(results_file.to_json(whole())))
  assert results_file.read(path) == whole()


def test_the_files_of_the_first_version_are_read(tmp_path):
  """They named a batch size, no vocabulary, and nothing that was published."""
  content = results_file.to_json(whole())
  del content['published'], content['settings']['vocabulary']
  content['settings']['batch_size'] = 32
  path = tmp_path / results.JSON
  path.write_text(json.dumps(content))
  found = results_file.read(path)
  assert found.published is None and found.settings.vocabulary is None
  assert found.tasks == whole().tasks
  assert results_file.to_json(found)['settings'] == content['settings']


def test_published_averages_of_earlier_versions_are_read(tmp_path):
  """They did not say how they came about."""
  content = results_file.to_json(whole())
  for row in content['published']['averages']:
    for name in row.keys() - {'name', 'average', 'mark'}:
      del row[name]
  path = tmp_path / results.JSON
  path.write_text(json.dumps(content))
  published = results_file.read(path).published
  assert published is not None
  vague, told = published.averages
  assert (told.name, told.average, told.mark) == ('T0-3B', 51.66, 'N')
  assert told.convention is None and told.columns == ()
  assert vague == whole().published.averages[0]


@pytest.mark.parametrize(
  'text',
  [
    'half of a fi',
    '[]',
    '{"runs": [], "settings": {}, "datasets": [], "columns": []}',
    json.dumps({**results_file.to_json(whole()), 'tasks': [{'task': 'a'}]}),
    json.dumps({**results_file.to_json(whole()), 'checkpoint': None}),
  ],
  ids=['damaged', 'a list', 'of a comparison', 'other tasks', 'no checkpoint'],
)
def test_other_files_are_refused(tmp_path, text):
  path = tmp_path / results.JSON
  path.write_text(text)
  with pytest.raises(UserError, match='is not the result of an evaluation'):
    results_file.read(path)
