"""Axes that no rule knows are refused where a run lays out its parameters."""

import flax.linen as nn
import jax.numpy as jnp
import pytest

from moe_lite import adapters
from moe_lite.core import logical_axes, partitioning, unknown_axes
from moe_lite.core.errors import UserError
from moe_lite.models import layout
from tests import tiny


class Unknown(adapters.Adapter):
  """Names an axis that no rule knows."""

  axis = 'ranks'

  @nn.compact
  def __call__(self, inputs, outputs, context):
    shift = partitioning.param(
      self, 'shift', nn.initializers.zeros, (3,), jnp.float32, (self.axis,)
    )
    return outputs + shift.sum().astype(outputs.dtype)


class Nameless(adapters.Adapter):
  """Declares a parameter as Flax does, without axes."""

  @nn.compact
  def __call__(self, inputs, outputs, context):
    shift = self.param('shift', nn.initializers.zeros, (3,), jnp.float32)
    return outputs + shift.sum().astype(outputs.dtype)


def lay_out(adapter, scan_layers):
  model = tiny.model({'wo': adapter}, scan_layers)
  return layout.layout(model, '.*_adapter/.*', partitioning.make_mesh((1, 1)))


@pytest.mark.parametrize('scan_layers', [False, True])
def test_an_unknown_axis_is_one_message(scan_layers):
  layer = 'layers' if scan_layers else 'layers_0'
  with pytest.raises(UserError) as error:
    lay_out(Unknown, scan_layers)
  assert str(error.value) == (
    f'decoder/{layer}/mlp/wo_adapter/shift and {1 if scan_layers else 2} more: '
    "the logical axis 'ranks' of the parameter is not known. Did you mean "
    "'rank'? The axes of parameters are embed, mlp, heads, kv, joined_kv, "
    'vocab, relpos_buckets, layers, expert, rank, task, split. Name a short '
    "dimension of your own 'rank'."
  )


def test_a_parameter_without_axes_is_one_message():
  with pytest.raises(UserError, match='wo_adapter/shift .*no logical axes. De'):
    lay_out(Nameless, False)


def test_every_axis_of_the_network_is_known():
  made = lay_out(adapters.MoLoRA, True)
  unknown_axes.check(made.abstract, made.axes)
  assert logical_axes.RULES[0] == ('batch', 'data')
  assert 'batch' not in logical_axes.OF_PARAMETERS
