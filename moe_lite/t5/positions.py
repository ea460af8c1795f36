"""Which positions belong together, and what routers are told of them."""

import dataclasses
from collections.abc import Callable, Collection

from moe_lite.core.types import Array
from moe_lite.routing.context import Context, sentence


@dataclasses.dataclass(frozen=True)
class Source:
  """The inputs that positions belong to.

  Attributes:
    tokens: ids [B, S].
    is_token: bool [B, S].
    segments: ids [B, S] of packed examples.
    encoded: what the encoder wrote, [B, S, D]; None before it has.
    embedding: a vector of each row, [B, F], that came with the data.
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
  """What routers of some positions are told; what none needs is left out.

  Args:
    needs: fields of the context.
    is_token: bool [B, L].
    tokens: ids [B, L].
    segments: ids [B, L] of packed examples.
    source: the inputs that these positions belong to.
    embed: ids [B, S] to vectors [B, S, D].
  """
  fields = {'tokens': tokens} if 'tokens' in needs else {}
  if 'sentence_feature' in needs and source.embedding is not None:
    fields['sentence_feature'] = source.embedding[:, None]
  asked = {'sentence_inputs', 'sentence_encoded'}.intersection(needs)
  if asked:
    # Without packing one vector serves a whole row.
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
  """bool [B, T, S]: both are tokens, and of the same segment if packed."""
  mask = is_query[:, :, None] & is_key[:, None, :]
  if query_segments is not None and key_segments is not None:
    mask &= query_segments[:, :, None] == key_segments[:, None, :]
  return mask
