"""The parts of T5X that this folder uses, and what to say where they are not.

Nothing else imports T5X.
"""

from typing import Any

from moe_lite.core.errors import UserError


class MissingT5XError(UserError, ImportError):
  """T5X is not installed, or it lacks something that is used of it."""


try:
  import clu.metrics as clu_metrics
  from t5x import (
    adafactor,
    checkpoints,
    models,
    optimizers,
    partitioning,
  )
except ImportError as error:
  raise MissingT5XError(
    f'T5X cannot be imported ({error}). It is not on PyPI: install it and '
    'airio from their git repositories, and what they need with '
    "pip install 'moe_lite[t5x]', as README says under 'With T5X'. To train "
    'without T5X, use python -m moe_lite.train with runs/finetune.gin in place '
    'of t5x/finetune.gin.'
  ) from error

__all__ = [
  'MissingT5XError',
  'adafactor',
  'checkpoints',
  'clu_metrics',
  'models',
  'optimizers',
  'partitioning',
  'require',
]


def require(module: Any, name: str) -> Any:
  """Returns an attribute of a module of T5X.

  Raises:
    MissingT5XError: if the module does not have it.
  """
  try:
    return getattr(module, name)
  except AttributeError as error:
    raise MissingT5XError(
      f'The T5X that is installed has no {module.__name__}.{name}, because its '
      'API has changed: install the commit that README names.'
    ) from error
