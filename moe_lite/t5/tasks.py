"""The tasks that the routers of a network tell apart."""

from collections.abc import Mapping
from typing import Any

from moe_lite.core.errors import UserError, some
from moe_lite.t5.config import T5Config


def check_tasks(network: T5Config, tasks: Mapping[str, Any] | None) -> None:
  """Checks that data have the tasks that routers tell apart.

  Args:
    network: the network, with its adapters.
    tasks: the tasks of the data; see `Description.tasks`. None if the data do
      not bear numbers.

  Raises:
    UserError: if a router reads the task and there are no numbers, or if it
      tells more or fewer tasks apart than there are.
  """
  if 'task' not in network.context_needs:
    return
  if tasks is None:
    raise UserError(
      'A router of this network reads the task of each token, and the data do '
      'not bear it: give --gin.TASK_IDS="\'dataset\'" or '
      '--gin.TASK_IDS="\'task\'".'
    )
  count = len(tasks['names'])
  routed = {**network.standing(), **network.deciding()}
  for site, adapter in routed.items():
    wanted = adapter.num_tasks
    if wanted is not None and wanted != count:
      raise UserError(
        f'The router at {site} tells {wanted} tasks apart, and the data have '
        f'{count}: {some(tasks["names"])}. Give --gin.NUM_TASKS={count} where '
        'there is a NUM_TASKS, and otherwise one expert for each task, '
        f'--gin.NUM_EXPERTS={count}.'
      )


def check_experts(
  source: str,
  experts: Mapping[str, Any] | None,
  network: T5Config,
  tasks: Mapping[str, Any] | None,
) -> None:
  """Checks that the experts that a run begins with are those of its tasks.

  Args:
    source: where the experts are from, for the message.
    experts: the tasks that they belong to; see `Description.tasks`. None if
      their source does not route by task.
    network: the network of the run.
    tasks: the tasks of the data; see `Description.tasks`.

  Raises:
    UserError: if the source and the run both route by task, and the tasks are
      others or in another order.
  """
  if experts is None or 'task' not in network.context_needs:
    return
  before, now = list(experts['names']), list((tasks or {}).get('names', ()))
  if before != now:
    raise UserError(
      f'INITIAL_ADAPTERS = {source!r} has experts for {", ".join(before)}, and '
      f'the data of this run are of {", ".join(now)}. Under task routing both '
      'must be the same: give data of the same data sets, or another routers/ '
      'file.'
    )


def known_tasks(
  path: str, network: T5Config, description: Any
) -> Mapping[str, Any] | None:
  """Returns the tasks that a checkpoint knows, if its routers read the task.

  Args:
    path: where the checkpoint is, for the message.
    network: the network, with its adapters.
    description: what the checkpoint says of itself; None for the base alone.

  Raises:
    UserError: if its routers read the task, and it does not name the tasks.
  """
  if description is None or 'task' not in network.context_needs:
    return None
  if description.tasks is None:
    raise UserError(
      f'{path} has routers that read the task, and does not say which task has '
      'which number, so that it cannot be run.'
    )
  return description.tasks
