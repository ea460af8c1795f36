"""The surface of a network that a model needs: that of T5X's networks."""

from typing import Any, Protocol

from moe_lite.core.types import Array


class Network(Protocol):
  """An encoder and decoder in flax.linen, such as `t5.Transformer`.

  A model calls these through `apply`, with the argument names of T5X.

  Attributes:
    config: its sizes, and the adapters that stand in it.
    scan_layers: whether its parameters are stacked over layers.
  """

  config: Any

  @property
  def scan_layers(self) -> bool: ...

  def init(self, rngs: Any, *args: Any, **kwargs: Any) -> Any:
    """Draws parameters: `params`, with their logical axes in `params_axes`."""
    ...

  def apply(self, variables: Any, *args: Any, **kwargs: Any) -> Any:
    """Calls a method of the network with parameters."""
    ...

  def clone(self, **changes: Any) -> 'Network':
    """The same network with other fields."""
    ...

  def encode(self, encoder_input_tokens: Array, **kwargs: Any) -> Array:
    """[B, S] ids to what the decoder reads, [B, S, D]."""
    ...

  def decode(
    self,
    encoded: Array,
    encoder_input_tokens: Array,
    decoder_input_tokens: Array,
    decoder_target_tokens: Array,
    **kwargs: Any,
  ) -> Array:
    """Logits [B, T, V], teacher-forced or one position with a cache."""
    ...
