"""Which positions belong together, and what routers are told about them."""

import dataclasses
from collections.abc import Callable, Collection

from moe_lite.core.types import Array
from moe_lite.routing.context import Context, sentence


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
  """

  tokens: Array
  is_token: Array
  segments: Array | None
  encoded: Array | None = None
  embedding: Array | None = None


def make_context(
  needs: Collection[str],
  is_token: Array,
  tokens: Array,
  segments: Array | None,
  source: Source,
  embed: Callable[[Array], Array],
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

  Returns:
    The context of the positions.
  """
  fields = {'tokens': tokens} if 'tokens' in needs else {}
  if 'sentence_feature' in needs and source.embedding is not None:
    fields['sentence_feature'] = source.embedding[:, None]
  asked = {'sentence_inputs', 'sentence_encoded'}.intersection(needs)
  if asked:
    # Without packing, all positions of a row have the same input. One vector
    # then serves the whole row.
    mask = source.is_token[:, None, :]
    if segments is not None:
      mask = attention_mask(
        is_token, source.is_token, segments, source.segments
      )
    for name in sorted(asked):
      is_encoded = name == 'sentence_encoded' and source.encoded is not None
      x = source.encoded if is_encoded else embed(source.tokens)
      fields[name] = sentence(x, mask)
  return Context(is_token, **fields)


def attention_mask(
  is_query: Array,
  is_key: Array,
  query_segments: Array | None,
  key_segments: Array | None,
) -> Array:
  """Returns bool [B, T, S], true where a query belongs together with a key.

  Both must be tokens. If rows are packed, both must also be of one example.

  Args:
    is_query: bool [B, T], false at padding.
    is_key: bool [B, S], false at padding.
    query_segments: the ids of the packed examples, [B, T]; None if not packed.
    key_segments: the ids of the packed examples, [B, S]; None if not packed.
  """
  mask = is_query[:, :, None] & is_key[:, None, :]
  if query_segments is not None and key_segments is not None:
    mask &= query_segments[:, :, None] == key_segments[:, None, :]
  return mask
