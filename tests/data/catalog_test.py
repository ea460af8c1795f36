"""The catalog of tasks: what is found, by which name, and what is refused."""

import pytest

from moe_lite.data import catalog

INFO = catalog.TaskInfo(
  name='catalog_test',
  dataset='colours',
  cluster='choice',
  template='first',
  chance=25.0,
  held_out=True,
)
TABLE = catalog.PublishedTable(
  source='A paper, Table 1',
  averages=(catalog.Published('a model', 61.5, '*'),),
  marks={'*': 'read off a figure'},
)


@pytest.fixture(scope='module', autouse=True)
def registered():
  catalog.add(INFO)
  catalog.add_published('catalog_test', TABLE)


def test_a_task_and_its_twin_are_one_entry():
  assert catalog.lookup('catalog_test') is INFO
  assert catalog.lookup('catalog_test' + catalog.SCORE_EVAL) is INFO
  assert INFO in catalog.tasks()


def test_what_is_unknown_is_none():
  assert catalog.lookup('unheard_of') is None
  assert catalog.published('unheard_of') is None


def test_a_module_may_be_imported_twice():
  catalog.add(catalog.TaskInfo(**vars(INFO)))
  assert catalog.tasks().count(INFO) == 1


def test_another_task_of_the_same_name_is_refused():
  with pytest.raises(ValueError, match="'catalog_test' is already in the cat"):
    catalog.add(catalog.TaskInfo(**{**vars(INFO), 'chance': 50.0}))


def test_what_others_reported_is_found_by_mixture():
  assert catalog.published('catalog_test') is TABLE
