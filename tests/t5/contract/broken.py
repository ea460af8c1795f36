"""Adapters and routers that break one promise each, or none."""

import flax.linen as nn
import jax.numpy as jnp

from moe_lite import adapters, routing
from moe_lite.core import partitioning


class Shift(adapters.Adapter):
  """Adds a vector. Subclasses spoil one thing."""

  draw = staticmethod(nn.initializers.zeros)
  dtype = jnp.float32
  axes = None

  def shape(self, outputs):
    return self.out_shape(outputs)

  def vector(self, outputs):
    axes = self.site.out_axes if self.axes is None else self.axes
    return partitioning.param(
      self, 'shift', self.draw, self.shape(outputs), self.dtype, axes
    )

  @nn.compact
  def __call__(self, inputs, outputs, context):
    return self.changed(outputs, self.vector(outputs).astype(outputs.dtype))

  def changed(self, outputs, shift):
    return outputs + shift


class Fitting(Shift):
  @classmethod
  def fits(cls, site):
    return site.out_axes == ('embed',)


class Raising(Shift):
  def changed(self, outputs, shift):
    raise RuntimeError('no such luck')


class Started(Shift):
  draw = staticmethod(nn.initializers.ones)


class Misnamed(Shift):
  axes = ('bottleneck',)

  def shape(self, outputs):
    return (1,)

  def changed(self, outputs, shift):
    return outputs + shift.sum()


class Resized(Misnamed):
  axes = ('embed',)


class Halved(Shift):
  dtype = jnp.bfloat16


class Widened(Shift):
  def changed(self, outputs, shift):
    return (outputs + shift).astype(jnp.float32)


class Idle(Shift):
  def changed(self, outputs, shift):
    return outputs


class Looking(Shift):
  def changed(self, outputs, shift):
    return outputs + shift * outputs.mean(1, keepdims=True)


class Undescribed(Shift):
  phase: complex = 1j


class Sized(Shift):
  size: int


class Sharp(routing.Router):
  def select(self, probabilities):
    squares = probabilities**2
    return squares / squares.sum(-1, keepdims=True)


class Unnormalised(routing.Router):
  def select(self, probabilities):
    return probabilities**2


class Said(Unnormalised):
  normalized = False


class Silent(routing.Router):
  def __call__(self, x, axis, context, is_sown=True):
    return super().__call__(x, axis, context, False)


class Transposed(routing.Router):
  def select(self, probabilities):
    return probabilities.swapaxes(1, -1)
