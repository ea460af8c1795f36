"""A trained model that runs: scores, generated text, and routing of tokens.

A thing belongs here if it uses trained parameters and measures nothing.
"""

from moe_lite.core import facade

_MODULES = {
  'ModelSource': 'source',
  'Shapes': 'padding',
  'TextModel': 'text_model',
  'Trained': 'trained',
  'infer': 'predictions',
  'load': 'loading',
}

__all__ = ['ModelSource', 'Shapes', 'TextModel', 'Trained', 'infer', 'load']

__getattr__ = facade.lazy(__name__, _MODULES)
