"""Numbers beside tokens, as T5X's configuration names them; no T5X here."""

import functools

import pytest
import seqio

from moe_lite import adapters, routing
from moe_lite.core.errors import UserError
from moe_lite.integrations import t5x_data
from tests import tiny, tiny_training  # noqa: F401  registers the tasks
from tests.library import experts

NAMES = ('other', 'tiny_other', 'tiny_task')
LENGTHS = {'inputs': 48, 'targets': 32}


def network(router):
  mixture = functools.partial(
    adapters.MoLoRA, num_experts=3, rank=2, alpha=3.0, router=router
  )
  return tiny.model(dict.fromkeys(experts.LORA, mixture)).module


@pytest.fixture(scope='module')
def library(tmp_path_factory):
  _, path = experts.write(tmp_path_factory.mktemp('experts'), names=NAMES)
  return path


@pytest.mark.parametrize('name', ['tiny_task', 'tiny_mixture'])
def test_numbers_are_those_that_the_checkpoint_names(library, name):
  module = network(routing.TaskRouter)
  by = t5x_data.known_by(library, module)
  assert by == 'dataset'
  made = seqio.get_mixture_or_task(t5x_data.numbered_for(name, library, module))
  data = made.get_dataset(
    t5x_data.lengths(LENGTHS, by), split='train', shuffle=False, num_epochs=1
  )
  found = {x for row in data for x in row['inputs_task_ids'].numpy().tolist()}
  assert found == ({3} if name == 'tiny_task' else {2, 3})


def test_other_routers_get_no_numbers(library):
  module = network(routing.UniformRouter)
  assert t5x_data.known_by(library, module) is None
  assert t5x_data.numbered_for('tiny_task', library, module) == 'tiny_task'
  assert t5x_data.lengths(LENGTHS, None) == LENGTHS


def test_mixtures_named_by_their_parts_are_registered():
  name = t5x_data.numbered('tiny_task+tiny_other', None)
  tasks = seqio.get_mixture_or_task(name).tasks
  assert {x.name for x in tasks} == {'tiny_task', 'tiny_other'}
  assert t5x_data.numbered(name, None) == name


def test_tasks_without_an_expert_are_refused(library):
  module = network(routing.TaskRouter)
  with pytest.raises(UserError, match='no number.*under another router'):
    t5x_data.numbered_for('tiny_measured', library, module)
