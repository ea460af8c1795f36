"""What a GPU computes, beside the reference and beside a CPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moe_lite.core import quantization
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.t5 import Transformer
from tests.core import quantization_test
from tests.golden import reader
from tests.t5 import attention_test


def has_gpu():
  try:
    return bool(jax.devices('gpu'))
  except RuntimeError:
    return False


pytestmark = [
  pytest.mark.gpu,
  pytest.mark.skipif(not has_gpu(), reason='needs a GPU'),
]


@pytest.fixture(autouse=True)
def exactly():
  """Without TensorFloat-32, whose products have ten bits."""
  with jax.default_matmul_precision('highest'):
    yield


@pytest.mark.parametrize('method', sorted(reader.METHODS))
@pytest.mark.parametrize('attention', ['plain', 'blocks'])
def test_golden_numbers(method, attention):
  golden = reader.Golden(method)
  config = reader.config(method, attention=attention)
  model = EncoderDecoderModel(
    Transformer(config), z_loss=1e-4, loss_normalizing_factor=None
  )
  params = jax.tree.map(jnp.asarray, golden.params)
  batch = {name: jnp.asarray(x) for name, x in golden.inputs.items()}
  is_token = np.asarray(batch['decoder_target_tokens']) != 0
  (loss, _), _ = jax.jit(jax.value_and_grad(model.loss_fn, has_aux=True))(
    params, batch
  )
  logits = jax.jit(model.logits)(params, batch)
  np.testing.assert_allclose(loss, golden.outputs['loss'], rtol=1e-5)
  np.testing.assert_allclose(
    logits[is_token], golden.outputs['logits'][is_token], atol=2e-4
  )


@pytest.mark.parametrize('situation', attention_test.SITUATIONS)
def test_attention_in_blocks(situation):
  given = attention_test.arguments(situation, 600)
  found, wanted = (
    attention_test.compute(form, *given) for form in ('blocks', 'plain')
  )
  for x, y in zip(found, wanted, strict=True):
    np.testing.assert_allclose(x, y, atol=1e-5 * np.abs(y).max(), rtol=1e-4)


def test_int8_products():
  x = quantization_test.draw(64, 256, seed=1)
  weight = quantization_test.draw(256, 128)
  held = quantization.quantize(weight, 0)
  multiply = jax.jit(quantization.int8_matmul, static_argnums=2)
  found, wanted = (
    multiply(*jax.device_put((x, held), device), jnp.dtype('float32'))
    for device in (jax.devices('gpu')[0], jax.devices('cpu')[0])
  )
  np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
