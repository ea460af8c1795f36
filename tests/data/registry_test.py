"""Tasks and mixtures by their names, and mixtures of several names."""

import pytest

import tests.tiny_task  # noqa: F401  registers the tasks
from moe_lite.core.errors import UserError
from moe_lite.data import registry


def test_a_sum_of_names_is_the_mixture_of_their_tasks():
  found = registry.find('tiny_mixture+tiny_measured')
  rates = {task.name: found.get_rate(task) for task in found.tasks}
  assert rates == {'tiny_task': 3.0, 'tiny_other': 1.0, 'tiny_measured': 1.0}
  assert registry.find('tiny_task+tiny_other').name == 'tiny_task+tiny_other'


@pytest.mark.parametrize('name', ['tiny_tsk', 'tiny_task+tiny_othr'])
def test_an_unknown_name_names_the_nearest(name):
  with pytest.raises(UserError, match="Did you mean 'tiny_(task|other)'"):
    registry.find(name)
