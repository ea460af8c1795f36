"""Which positions belong together, and what routers are told about them."""

import dataclasses
from collections.abc import Callable, Collection

import jax.numpy as jnp

from moe_lite.core.errors import UserError
from moe_lite.core.types import Array
from moe_lite.routing.context import Context, sentence
from moe_lite.t5.attention import same_segment


@dataclasses.dataclass(frozen=True)
class Source:
  """The inputs of the examples that some positions belong to.

  Attributes:
    tokens: the ids of the tokens, [B, S].
    is_token: bool [B, S], false at padding.
    segments: the ids of the packed examples, [B, S]; None if rows are not
      packed.
    encoded: what the encoder wrote, [B, S, D]; None until it has written it.
    embedding: a vector for each row that came with the data, [B, F], if any.
    task_ids: the number of each token's task, [B, S], if there are any.
    task_numbers: the numbers that there are, [B, N], if statistics by task are
      wanted.
  """

  tokens: Array
  is_token: Array
  segments: Array | None
  encoded: Array | None = None
  embedding: Array | None = None
  task_ids: Array | None = None
  task_numbers: Array | None = None


def make_context(
  needs: Collection[str],
  is_token: Array,
  tokens: Array,
  segments: Array | None,
  source: Source,
  embed: Callable[[Array], Array],
  task_ids: Array | None = None,
  is_causal: bool = False,
) -> Context:
  """Collects what routers are told about some positions.

  Args:
    needs: the fields of `Context` that some router needs. Other fields are left
      out.
    is_token: bool [B, L], false at padding.
    tokens: the ids of the tokens, [B, L].
    segments: the ids of the packed examples, [B, L]; None if rows are not
      packed.
    source: the inputs that these positions belong to.
    embed: maps ids [B, S] to vectors [B, S, D].
    task_ids: the number of the task of each position, [B, L]. If rows are not
      packed, the number of a row is kept alone, [B, 1], and None takes that of
      the inputs.
    is_causal: whether a position must not see later ones.

  Returns:
    The context of the positions.

  Raises:
    UserError: if a router needs the tasks, and there are none.
  """
  fields = {'tokens': tokens} if 'tokens' in needs else {}
  if 'sentence_feature' in needs and source.embedding is not None:
    fields['sentence_feature'] = source.embedding[:, None]
  fields |= _tasks(needs, segments, source, task_ids)
  if 'example' in needs and not is_causal:
    fields['example'] = is_token[:, None, :]
    if segments is not None:
      ids = segment_ids(is_token, segments)
      fields['example'] = same_segment(ids, ids)
  asked = {'sentence_inputs', 'sentence_encoded'}.intersection(needs)
  if asked:
    # Without packing, all positions of a row have the same input. One vector
    # then serves the whole row.
    mask = source.is_token[:, None, :]
    if segments is not None:
      mask = same_segment(
        segment_ids(is_token, segments),
        segment_ids(source.is_token, source.segments),
      )
    for name in sorted(asked):
      is_encoded = name == 'sentence_encoded' and source.encoded is not None
      x = source.encoded if is_encoded else embed(source.tokens)
      fields[name] = sentence(x, mask)
  return Context(is_token, **fields)


def _tasks(
  needs: Collection[str],
  segments: Array | None,
  source: Source,
  task_ids: Array | None,
) -> dict[str, Array]:
  """The fields of a context that say which task a position belongs to."""
  if segments is None:
    # One decision serves the whole row, so that adapters can gather the
    # matrices of its task once.
    given = source.task_ids if task_ids is None else task_ids
    task_ids = None if given is None else given.max(axis=1, keepdims=True)
  if task_ids is None:
    if 'task' in needs:
      raise UserError(
        'A router of this network reads the task of each token, and the batch '
        'does not say it: give --gin.TASK_IDS="\'dataset\'" or "\'task\'".'
      )
    return {}
  fields = {'task': task_ids} if 'task' in needs else {}
  if source.task_numbers is not None:
    is_of_task = task_ids[:, :, None] == source.task_numbers[:, None, :]
    fields['is_of_task'] = is_of_task
  return fields


def segment_ids(is_token: Array, segments: Array | None) -> Array:
  """Returns int32 [B, L], the example of each position; 0 at padding.

  Args:
    is_token: bool [B, L], false at padding.
    segments: the ids of the packed examples, [B, L]; None if not packed.
  """
  if segments is None:
    return is_token.astype(jnp.int32)
  return jnp.where(is_token, segments + 1, 0)
