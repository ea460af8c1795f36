"""Numbers that tell which task, or which data set, each token belongs to.

They are counted from 1, and are 0 at padding. A number is attached to an
example after its task's own preprocessors, so caches do not hold it. It is then
repeated for each token, and packed beside the tokens.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import seqio
import tensorflow as tf

from moe_lite.core.errors import UserError, nearest, some
from moe_lite.core.features import TASK_IDS, TASK_NUMBER
from moe_lite.data import catalog
from moe_lite.data.registry import tasks_of

# What a number may stand for.
BY = ('task', 'dataset')
# The feature of an example that holds the number for each token.
_SPREAD = {'inputs': 'inputs_task_ids', 'targets': 'targets_task_ids'}
_IDS = seqio.PassThroughVocabulary(0)
# Maps a stream of examples to another one.
Step = Callable[[tf.data.Dataset], tf.data.Dataset]


def names(provider: seqio.Task | seqio.Mixture, by: str | None) -> list[str]:
  """Returns what is numbered, in order. The first name has number 1.

  Args:
    provider: the task or mixture.
    by: 'task' numbers tasks, that is, prompts. 'dataset' numbers their data
      sets; a task that is not in the catalog is a data set of its own. None
      numbers nothing.

  Raises:
    UserError: if `by` is something else.
  """
  if by is None:
    return []
  if by not in BY:
    raise UserError(
      f"TASK_IDS = {by!r} must be 'task', 'dataset' or None. 'task' numbers "
      "prompts, and 'dataset' numbers data sets."
    )
  return sorted({_name(task, by) for task in tasks_of(provider)})


def numbers(
  provider: seqio.Task | seqio.Mixture,
  by: str,
  known: Sequence[str] | None = None,
) -> dict[str, int]:
  """Returns the number of each task of a mixture, by the name of the task.

  Args:
    provider: the task or mixture.
    by: see `names`.
    known: the names in the order of their numbers. None takes those of this
      mixture; see `names`.

  Raises:
    UserError: if a task has none of the known names.
  """
  known = names(provider, by) if known is None else known
  found = {task.name: _name(task, by) for task in tasks_of(provider)}
  for task, name in found.items():
    if name not in known:
      raise UserError(
        f'TASK_IDS = {by!r}: task {task!r} belongs to {name!r}, which has no '
        f'number.{nearest(name, known)} Numbers are given to {some(known)}.'
      )
  return {task: known.index(name) + 1 for task, name in found.items()}


def numbers_for(
  provider: seqio.Task | seqio.Mixture, tasks: Mapping[str, Any] | None
) -> dict[str, int]:
  """Returns the numbers of tasks that the routers of a model know.

  Args:
    provider: the task or mixture.
    tasks: what the model knows; see `Description.tasks`. None gives no numbers.

  Raises:
    UserError: if the model does not know a task.
  """
  if tasks is None:
    return {}
  try:
    return numbers(provider, tasks['by'], tasks['names'])
  except UserError as error:
    raise UserError(
      f'{error} The routers of this model take their decision by the task, so '
      'that others cannot be run. Give one of theirs, or assemble the experts '
      'under another router: see python -m moe_lite.library --help.'
    ) from error


def numbered(
  provider: seqio.Task | seqio.Mixture,
  by: str,
  known: Sequence[str] | None = None,
) -> seqio.Task | seqio.Mixture:
  """Returns a task or mixture whose tokens bear numbers.

  Its examples are those of `provider`, in the same order. They have two more
  features, 'inputs_task_ids' and 'targets_task_ids', as long as 'inputs' and
  'targets'.

  Args:
    provider: the task or mixture.
    by: see `names`.
    known: see `numbers`.

  Raises:
    UserError: see `numbers`.
  """
  number = numbers(provider, by, known)
  whole = {
    task.name: task.replace(
      preprocessors=[*task.preprocessors, attach(number[task.name]), spread],
      output_features=with_ids(task.output_features),
    )
    for task in tasks_of(provider)
  }
  if isinstance(provider, seqio.Task):
    return whole[provider.name]
  return mixture_of(provider, whole)


def mixture_of(
  provider: Any, tasks: Mapping[str, seqio.Task], name: str | None = None
) -> seqio.Mixture:
  """Returns a mixture at the rates of another one.

  Args:
    provider: the other mixture.
    tasks: what stands in place of some of its tasks, by their names. The rest
      is left out.
    name: the name of the mixture; None takes that of the other one.
  """
  return seqio.Mixture(
    name or provider.name,
    [
      (tasks[task.name], provider.get_rate(task))
      for task in provider.tasks
      if task.name in tasks
    ],
    sample_fn=provider._sample_fn,
  )


def attach(number: int) -> Step:
  """Returns a preprocessor that gives examples a number."""

  def step(dataset: tf.data.Dataset) -> tf.data.Dataset:
    return dataset.map(lambda row: {**row, TASK_NUMBER: tf.constant(number)})

  return step


def spread(dataset: tf.data.Dataset) -> tf.data.Dataset:
  """A preprocessor that repeats the number of an example for each token."""

  def over_tokens(row: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    # An id of 0 is padding wherever it stands. To pack, SeqIO counts the other
    # ids, and must find as many numbers.
    ids = {
      ids: tf.where(tf.equal(row[tokens], 0), 0, row[TASK_NUMBER])
      for tokens, ids in _SPREAD.items()
    }
    return {**row, **ids}

  return dataset.map(over_tokens)


def with_ids(features: Mapping[str, Any]) -> dict[str, Any]:
  """The features of a task, with those of the numbers of its tokens."""
  ids = seqio.Feature(_IDS, add_eos=False)
  return {**features, **dict.fromkeys(_SPREAD.values(), ids)}


def with_number(features: Mapping[str, Any]) -> dict[str, Any]:
  """The features of a task, with the number that `attach` gives."""
  return {**features, TASK_NUMBER: seqio.Feature(_IDS, add_eos=False, rank=0)}


def lengths(of_tokens: Mapping[str, int]) -> dict[str, int]:
  """TASK_FEATURE_LENGTHS of numbered tasks."""
  return {**of_tokens, **{x: of_tokens[name] for name, x in _SPREAD.items()}}


class FeatureConverter(seqio.EncDecFeatureConverter):
  """SeqIO's converter for numbered tasks.

  Batches also have 'encoder_task_ids' and 'decoder_task_ids', int32
  [B, length], for the tokens of 'encoder_input_tokens' and of
  'decoder_target_tokens'.
  """

  TASK_FEATURES: Mapping[str, Any] = {
    **seqio.EncDecFeatureConverter.TASK_FEATURES,
    **dict.fromkeys(
      _SPREAD.values(), seqio.FeatureConverter.FeatureSpec(dtype=tf.int32)
    ),
  }
  MODEL_FEATURES: Mapping[str, Any] = {
    **seqio.EncDecFeatureConverter.MODEL_FEATURES,
    **dict.fromkeys(
      TASK_IDS, seqio.FeatureConverter.FeatureSpec(dtype=tf.int32)
    ),
  }

  def _convert_example(
    self, features: Mapping[str, tf.Tensor]
  ) -> Mapping[str, tf.Tensor]:
    ids = zip(TASK_IDS, _SPREAD.values(), strict=True)
    return {
      **super()._convert_example(features),
      **{of_model: features[of_task] for of_model, of_task in ids},
    }

  def get_model_feature_lengths(
    self, task_feature_lengths: Mapping[str, int]
  ) -> Mapping[str, int]:
    ids = zip(TASK_IDS, _SPREAD, strict=True)
    return {
      **super().get_model_feature_lengths(task_feature_lengths),
      **{of_model: task_feature_lengths[tokens] for of_model, tokens in ids},
    }


def _name(task: seqio.Task, by: str) -> str:
  info = catalog.lookup(task.name) if by == 'dataset' else None
  return info.dataset if info else task.name.removesuffix(catalog.SCORE_EVAL)
