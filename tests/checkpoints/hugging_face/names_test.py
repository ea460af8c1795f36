"""Our names of layers and projections, and those that transformers has."""

import pytest

from moe_lite.checkpoints.hugging_face import names
from tests.checkpoints.hugging_face import written_files as made


@pytest.mark.parametrize('version', ['1.0', '1.1'])
def test_every_projection_has_a_kernel_of_that_shape(version):
  state = made.state(version)
  network = made.network(version)
  found = {x.theirs: x.shape for x in names.projections(network)}
  matrices = {
    x.removesuffix('.weight'): leaf.shape[::-1]
    for x, leaf in state.items()
    if '.layer.' in x and leaf.ndim == 2 and 'bias' not in x
  }
  assert found == matrices


def test_sublayers_are_named_alike_in_both():
  network = made.network()
  found = {x.ours: x for x in names.sublayers(network)}
  assert len(found) == 2 * 2 + 3
  cross = found['decoder/layers_0/encoder_decoder_attention']
  assert cross.our_norm == 'decoder/layers_0/pre_cross_attention_layer_norm'
  assert cross.theirs == 'decoder.block.0.layer.1.EncDecAttention'
  assert cross.their_norm == 'decoder.block.0.layer.1.layer_norm'
  norms = {f'{x.their_norm}.weight' for x in found.values()}
  assert norms <= made.state('1.1').keys()
