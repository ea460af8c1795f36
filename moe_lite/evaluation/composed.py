"""The loss of many adapters of one network, over a base that is loaded once."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from moe_lite.checkpoints.description import Description, check_same
from moe_lite.checkpoints.leaf_shapes import check_fits
from moe_lite.core import parameters, partitioning
from moe_lite.evaluation.validation import Validation
from moe_lite.inference.loading import UNROLLED_LAYERS
from moe_lite.inference.source import BASE, ModelSource
from moe_lite.models import layout
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.t5.config import T5Config
from moe_lite.t5.network import Transformer


class Composed:
  """Measures the loss of adapters over a base that is loaded once."""

  def __init__(
    self,
    path: str,
    said: Description,
    network: T5Config,
    validation: Validation,
    lengths: Mapping[str, int],
    base: str | None = None,
    base_dtype: str = 'float32',
  ):
    """Loads the base, and reads the examples.

    Args:
      path: where the adapters are from, for messages.
      said: what they say of themselves.
      network: their network.
      validation: the examples.
      lengths: {'inputs': L, 'targets': T}; longer ones are trimmed.
      base: where the base is; None takes it from where the adapters say.
      base_dtype: the type in which the base is held.

    Raises:
      UserError: if the adapters, the base and the examples do not fit.
    """
    layers = max(network.num_encoder_layers, network.num_decoder_layers)
    config = dataclasses.replace(network, scan_layers=layers > UNROLLED_LAYERS)
    model = EncoderDecoderModel(Transformer(config))
    prepared = validation.prepare(model, lengths, best_by=None)
    assert prepared is not None
    source = base or said.base.source
    frozen = ModelSource(model, BASE, source, base_dtype=base_dtype).load()
    check_same(path, said.base, frozen.facts.base)
    where = layout.layout(model, parameters.EVERYTHING, frozen.mesh)
    self._path, self._scan = path, config.scan_layers
    self._base = parameters.flatten(frozen.params)
    self._places = parameters.flatten(where.hold('float32'))
    self._wanted = parameters.adapters_of(
      jax.eval_shape(parameters.unstack_layers, where.abstract)
    )
    # What it compiles for the first adapters serves all others.
    self._measure = prepared(frozen.mesh)

  def loss(self, leaves: Mapping[str, np.ndarray]) -> float:
    """The loss of a token of the right targets.

    Args:
      leaves: all adapters by path, layers apart.
    """
    tree = parameters.unflatten(dict(leaves))
    check_fits(tree, self._wanted, self._path)
    form = parameters.flatten(parameters.like_network(tree, self._scan))
    placed: dict[str, Any] = {
      path: partitioning.put(leaf, self._places[path].format)
      for path, leaf in form.items()
    }
    params = parameters.unflatten({**self._base, **placed})
    return self._measure(params)['loss']
