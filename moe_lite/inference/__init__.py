"""A trained model that runs: scores, generated text, and routing of tokens.

A thing belongs here if it uses trained parameters and measures nothing.
"""

from typing import TYPE_CHECKING

from moe_lite.core import facade

if TYPE_CHECKING:
  from moe_lite.inference.loading import load
  from moe_lite.inference.padding import Shapes
  from moe_lite.inference.predictions import infer
  from moe_lite.inference.source import ModelSource
  from moe_lite.inference.text_model import TextModel
  from moe_lite.inference.trained import Trained

__all__ = ['ModelSource', 'Shapes', 'TextModel', 'Trained', 'infer', 'load']

__getattr__ = facade.lazy(
  __name__,
  {
    'load': 'loading',
    'Shapes': 'padding',
    'infer': 'predictions',
    'ModelSource': 'source',
    'TextModel': 'text_model',
    'Trained': 'trained',
  },
)
