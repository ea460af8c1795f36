"""What a model needs of a network. Networks of T5X have the same surface."""

from typing import Any, Protocol

from moe_lite.core.types import Array


class Network(Protocol):
  """An encoder-decoder in flax.linen, such as `t5.Transformer`.

  A model calls `encode` and `decode` through `apply`, with the argument names
  of T5X.

  Attributes:
    config: the sizes of the network, and the adapters that stand in it.
    scan_layers: whether parameters are stacked over layers.
  """

  config: Any

  @property
  def scan_layers(self) -> bool: ...

  def init(self, rngs: Any, *args: Any, **kwargs: Any) -> Any:
    """Draws `params`, and gives their logical axes in `params_axes`."""
    ...

  def apply(self, variables: Any, *args: Any, **kwargs: Any) -> Any:
    """Calls a method of the network with given parameters."""
    ...

  def clone(self, **changes: Any) -> 'Network':
    """Returns the same network with some fields changed."""
    ...

  def encode(self, encoder_input_tokens: Array, **kwargs: Any) -> Array:
    """Maps ids [B, S] to what the decoder attends to, [B, S, D]."""
    ...

  def decode(
    self,
    encoded: Array,
    encoder_input_tokens: Array,
    decoder_input_tokens: Array,
    decoder_target_tokens: Array,
    **kwargs: Any,
  ) -> Array:
    """Returns logits [B, T, V], teacher-forced or for one cached position."""
    ...
