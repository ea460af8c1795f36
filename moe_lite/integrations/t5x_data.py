"""Mixtures with numbers beside their tokens, as T5X's configuration names them.

T5X finds mixtures in SeqIO's registry alone.
"""

from collections.abc import Mapping

import seqio

from moe_lite.data import registry
from moe_lite.data import task_ids as numbering


def numbered(
  mixture_or_task_name: str,
  task_ids: str | None,
  like: str | None = None,
) -> str:
  """Registers a mixture with numbers beside its tokens, and returns its name.

  Args:
    mixture_or_task_name: the mixture or task without them.
    task_ids: what the numbers stand for; see `data.task_ids.names`. With None,
      the name is returned as it is.
    like: the mixture or task whose numbers are taken. None takes the same one.

  Raises:
    UserError: if a task has no number there.
  """
  provider = registry.find(mixture_or_task_name)
  if task_ids is None:
    return mixture_or_task_name
  known = numbering.names(registry.find(like or provider.name), task_ids)
  made = numbering.numbered(provider, task_ids, known)
  name = f'{provider.name}_by_{task_ids}_of_{like or provider.name}'
  if name not in seqio.MixtureRegistry.names():
    if isinstance(made, seqio.Task):
      mixture = seqio.Mixture(name, [(made, 1.0)])
    else:
      tasks = {task.name: task for task in made.tasks}
      mixture = numbering.mixture_of(made, tasks, name)
    seqio.MixtureRegistry.add_provider(name, mixture)
  return name


def lengths(
  task_feature_lengths: Mapping[str, int], task_ids: str | None
) -> Mapping[str, int]:
  """Returns TASK_FEATURE_LENGTHS of what `numbered` registers."""
  if task_ids is None:
    return task_feature_lengths
  return numbering.lengths(task_feature_lengths)
