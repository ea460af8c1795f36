"""Which published configurations tasks are read from."""

from tasks.p3 import table
from tests.tasks.p3 import copies


def test_twins_are_fetched_where_they_were_published():
  assert table.configurations([copies.TWIN]) == (copies.TWIN,)
  assert table.configurations([f'{copies.TRAIN}_score_eval']) == (copies.TRAIN,)
