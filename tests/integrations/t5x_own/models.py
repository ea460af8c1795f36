"""`t5x.models`, whose encoder-decoder is ours."""

from t5x import models

from moe_lite.integrations.t5x import EncoderDecoderModel

__all__ = ['EncoderDecoderModel']


def __getattr__(name):
  return getattr(models, name)
