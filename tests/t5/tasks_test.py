"""Routers that read the task know which tasks there are."""

import dataclasses
import functools

import pytest

from moe_lite import adapters, routing
from moe_lite.core.errors import UserError
from moe_lite.t5.tasks import check_experts, check_tasks, known_tasks
from tests import tiny

TASKS = {'by': 'dataset', 'names': ['a', 'b']}


def network(router, count=2):
  mixture = functools.partial(
    adapters.MoLoRA, num_experts=count, rank=2, router=router
  )
  return tiny.model({'key': mixture}).module.config


@dataclasses.dataclass
class Said:
  tasks: dict | None


def test_as_many_tasks_as_the_routers_tell_apart():
  check_tasks(network(routing.TaskRouter), TASKS)
  check_tasks(network(routing.SoftRouter), None)
  check_tasks(network(functools.partial(routing.GateRouter, by_task=False)), {})
  with pytest.raises(
    UserError, match='tells 3 tasks apart.*2: a, b.*EXPERTS=2'
  ):
    check_tasks(network(routing.TaskRouter, 3), TASKS)
  poly = functools.partial(routing.PolyRouter, tasks=4)
  with pytest.raises(UserError, match='tells 4 tasks apart.*NUM_TASKS=2'):
    check_tasks(network(poly), TASKS)
  with pytest.raises(UserError, match='TASK_IDS'):
    check_tasks(network(routing.TaskRouter), None)


def test_experts_of_tasks_are_those_of_the_data():
  by_task = network(routing.TaskRouter)
  check_experts('run', TASKS, by_task, {**TASKS, 'by': 'task'})
  check_experts('run', None, by_task, TASKS)
  for names in (['b', 'a'], ['a', 'c'], ['a']):
    with pytest.raises(UserError, match="'run' has experts for a, b, and"):
      check_experts('run', TASKS, by_task, {**TASKS, 'names': names})
  # Under another router, experts belong to no task.
  check_experts('run', TASKS, network(routing.SoftRouter), None)


def test_a_shared_decision_tells_as_many_tasks_apart():
  mixture = functools.partial(
    adapters.MoV, num_experts=3, router=routing.SharedRouter
  )
  decision = functools.partial(
    routing.Decision, num_experts=3, router=routing.TaskRouter
  )
  config = dataclasses.replace(
    tiny.model({}).module.config,
    adapters={'key': mixture},
    decisions={'layer': decision},
  )
  with pytest.raises(UserError, match='at layer tells 3 tasks apart'):
    check_tasks(config, TASKS)


def test_a_checkpoint_says_which_tasks_its_routers_know():
  by_task = network(routing.TaskRouter)
  assert known_tasks('run', by_task, Said(TASKS)) == TASKS
  assert known_tasks('run', network(routing.SoftRouter), Said(TASKS)) is None
  assert known_tasks('base', by_task, None) is None
  with pytest.raises(UserError, match='run has routers that read the task'):
    known_tasks('run', by_task, Said(None))
