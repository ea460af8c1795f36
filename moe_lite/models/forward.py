"""The passes through a network: from a batch to encodings and logits."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from moe_lite.core.features import (
  DECODER_INPUTS,
  DECODER_TARGETS,
  ENCODER_INPUTS,
  INPUTS_EMBEDDING,
  PACKING,
  TASK_IDS,
  TASK_NUMBERS,
)
from moe_lite.core.types import Array, Batch, Shape, Tree
from moe_lite.models.surface import Network

# Random streams by name.
Rngs = Mapping[str, Array]

# Features that some batches have besides their tokens.
_OPTIONAL = (*PACKING, INPUTS_EMBEDDING, *TASK_IDS, TASK_NUMBERS)


def features_of_inputs(batch: Batch) -> dict[str, Array]:
  """Returns what routers may read of the inputs besides their tokens."""
  names = (INPUTS_EMBEDDING, TASK_IDS[0])
  return {name: batch[name] for name in names if name in batch}


def _has_dropout(rngs: Rngs | None) -> bool:
  return bool(rngs) and 'dropout' in rngs


class Forward:
  """Draws the parameters of a network, and runs it on batches.

  Batches are those of SeqIO's EncDecFeatureConverter. They have the int32
  features `encoder_input_tokens` [B, L], `decoder_input_tokens` [B, T],
  `decoder_target_tokens` [B, T] and `decoder_loss_weights` [B, T]. Packed
  batches also have segment ids and positions. Batches that are not packed also
  have `inputs_embedding` [B, F] if their task has it. Any batch may say which
  task each token belongs to (`features.TASK_IDS`, `TASK_NUMBERS`).

  Attributes:
    module: the network.
  """

  def __init__(self, module: Network):
    """Keeps the network, `module`."""
    self.module = module
    self._abstract: dict[Any, Tree] = {}

  def get_initial_variables(
    self, rng: Array, input_shapes: Mapping[str, Shape]
  ) -> Tree:
    """Draws all parameters, those of the base included.

    Args:
      rng: the key of the draws.
      input_shapes: the shapes of `encoder_input_tokens` and
        `decoder_input_tokens`. The parameters do not depend on them.

    Returns:
      `params`, and `params_axes` with the logical axes of each parameter.
    """
    sources = jnp.ones(input_shapes[ENCODER_INPUTS], jnp.int32)
    targets = jnp.ones(input_shapes[DECODER_INPUTS], jnp.int32)
    variables = self.module.init(
      {'params': rng}, sources, targets, targets, enable_dropout=False
    )
    return {name: variables[name] for name in ('params', 'params_axes')}

  def abstract_variables(
    self, input_shapes: Mapping[str, Shape] | None = None
  ) -> Tree:
    """Returns the shapes of `get_initial_variables`, and allocates nothing.

    A network is traced for them once.
    """
    if input_shapes is None:
      input_shapes = dict.fromkeys((ENCODER_INPUTS, DECODER_INPUTS), (1, 8))
    key = tuple(sorted(input_shapes.items()))
    if key not in self._abstract:
      self._abstract[key] = jax.eval_shape(
        lambda rng: self.get_initial_variables(rng, input_shapes),
        jax.random.key(0),
      )
    # Whoever changes the tree changes a copy.
    return jax.tree.map(lambda x: x, self._abstract[key])

  def logits(
    self,
    params: Tree,
    batch: Batch,
    rngs: Rngs | None = None,
    mutable: Any = False,
  ) -> Any:
    """Returns teacher-forced logits, float32 [B, T, V].

    Args:
      params: the merged parameters.
      batch: see the class.
      rngs: random streams by name. There is dropout only if 'dropout' is one.
      mutable: collections that the network may write. If any are given, the
        result is the pair of the logits and these collections.
    """
    optional = {name: batch[name] for name in _OPTIONAL if name in batch}
    return self.module.apply(
      {'params': params},
      batch[ENCODER_INPUTS],
      batch[DECODER_INPUTS],
      batch[DECODER_TARGETS],
      **optional,
      enable_dropout=_has_dropout(rngs),
      rngs=rngs,
      mutable=mutable,
    )

  def encode(
    self,
    params: Tree,
    batch: Batch,
    mutable: Any = False,
    rngs: Rngs | None = None,
  ) -> Any:
    """Returns what the decoder attends to, [B, L, D].

    Args:
      params: the merged parameters.
      batch: only `encoder_input_tokens` is read, and `inputs_embedding` and
        `encoder_task_ids` if a router needs them.
      mutable: collections that the network may write, as in `logits`.
      rngs: random streams by name, as in `logits`.
    """
    return self.module.apply(
      {'params': params},
      batch[ENCODER_INPUTS],
      enable_dropout=_has_dropout(rngs),
      **features_of_inputs(batch),
      rngs=rngs,
      mutable=mutable,
      method=self.module.encode,
    )

  def decode(
    self,
    params: Tree,
    encoded: Array,
    batch: Batch,
    decoder_input_tokens: Array,
    decoder_target_tokens: Array,
    rngs: Rngs | None = None,
    mutable: Any = False,
  ) -> Any:
    """Returns teacher-forced logits for inputs that are already encoded.

    Args:
      params: the merged parameters.
      encoded: what `encode` returned for the batch, [B, L, D].
      batch: the batch of the inputs. Only what `encode` reads of it is read.
      decoder_input_tokens: the ids that the decoder reads, [B, T].
      decoder_target_tokens: the ids of the targets, [B, T].
      rngs: random streams by name, as in `logits`.
      mutable: collections that the network may write, as in `logits`.

    Returns:
      Float32 logits, [B, T, V].
    """
    return self.module.apply(
      {'params': params},
      encoded,
      batch[ENCODER_INPUTS],
      decoder_input_tokens,
      decoder_target_tokens,
      enable_dropout=_has_dropout(rngs),
      **features_of_inputs(batch),
      rngs=rngs,
      mutable=mutable,
      method=self.module.decode,
    )
