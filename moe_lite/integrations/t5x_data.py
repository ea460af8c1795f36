"""Mixtures with numbers beside their tokens, as T5X's configuration names them.

T5X finds mixtures in SeqIO's registry alone.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import seqio

from moe_lite.checkpoints import formats
from moe_lite.data import registry
from moe_lite.data import task_ids as numbering
from moe_lite.t5.network import Transformer
from moe_lite.t5.tasks import known_tasks


def numbered(
  mixture_or_task_name: str,
  task_ids: str | None,
  like: str | None = None,
) -> str:
  """Registers a mixture with numbers beside its tokens, and returns its name.

  Args:
    mixture_or_task_name: the mixture or task without them.
    task_ids: what the numbers stand for; see `data.task_ids.names`. None gives
      no numbers.
    like: the mixture or task whose numbers are taken. None takes the same one.

  Raises:
    UserError: if a task has no number there.
  """
  provider = registry.find(mixture_or_task_name)
  known = numbering.names(registry.find(like or provider.name), task_ids)
  return _register(provider, task_ids, known)


def numbered_for(
  mixture_or_task_name: str, checkpoint_path: str, module: Transformer
) -> str:
  """Registers a mixture with the numbers that the routers of a run know.

  Args:
    mixture_or_task_name: the mixture or task without them.
    checkpoint_path: the checkpoint of a run under T5X; or a base.
    module: the network, with the adapters of the run.

  Returns:
    The name of the mixture; that of the given one if no router reads the task.

  Raises:
    UserError: if the run does not know a task.
  """
  provider = registry.find(mixture_or_task_name)
  tasks = _known(checkpoint_path, module)
  numbering.numbers_for(provider, tasks)  # Its message says what to do.
  return _register(provider, *((tasks['by'], tasks['names']) if tasks else ()))


def known_by(checkpoint_path: str, module: Transformer) -> str | None:
  """What those numbers stand for; None if no router reads the task.

  Args:
    checkpoint_path: see `numbered_for`.
    module: see there.

  Raises:
    UserError: if routers read the task, and the checkpoint does not name the
      tasks.
  """
  tasks = _known(checkpoint_path, module)
  return tasks['by'] if tasks else None


def lengths(
  task_feature_lengths: Mapping[str, int], task_ids: str | None
) -> Mapping[str, int]:
  """Returns TASK_FEATURE_LENGTHS of what `numbered` registers."""
  if task_ids is None:
    return task_feature_lengths
  return numbering.lengths(task_feature_lengths)


def _known(
  checkpoint_path: str, module: Transformer
) -> Mapping[str, Any] | None:
  """The tasks that routers read, by the checkpoint of a run."""
  form = formats.find(checkpoint_path)
  said = None if form is None else form.describe(checkpoint_path)
  return known_tasks(checkpoint_path, module.config, said)


def _register(
  provider: seqio.Task | seqio.Mixture,
  by: str | None = None,
  known: Sequence[str] = (),
) -> str:
  """Registers a mixture, with numbers if `by` is given; returns its name."""
  name = provider.name
  if by is not None:
    provider = numbering.numbered(provider, by, known)
    # T5X names files by it, so that it is short.
    which = zlib.crc32('+'.join(known).encode())
    name = f'{name}_by_{by}_{which:08x}'
  if name in {*seqio.MixtureRegistry.names(), *seqio.TaskRegistry.names()}:
    return name
  if isinstance(provider, seqio.Task):
    mixture = seqio.Mixture(name, [(provider, 1.0)])
  else:
    tasks = {task.name: task for task in provider.tasks}
    mixture = numbering.mixture_of(provider, tasks, name)
  seqio.MixtureRegistry.add_provider(name, mixture)
  return name
