"""The parts of T5X that this folder uses, and what to say where they are not.

Nothing else imports T5X.
"""

import importlib
import pathlib
import traceback
from collections.abc import Callable
from typing import Any

import jax
from absl import logging
from jax.experimental import pjit

from moe_lite.core.errors import UserError


class MissingT5XError(UserError, ImportError):
  """T5X is not installed, or it lacks something that is used of it."""


if not hasattr(pjit, 'PartitionSpec'):
  # jestimator, which T5X imports, looks for it where jax used to have it.
  pjit.PartitionSpec = jax.sharding.PartitionSpec

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
    "pip install 'moe_lite[t5x]', as docs/tutorials/t5x.md says. To train "
    'without T5X, use python -m moe_lite.train with runs/finetune.gin in place '
    'of t5x/finetune.gin.'
  ) from error

__all__ = [
  'FOLDER',
  'MissingT5XError',
  'adafactor',
  'call',
  'checkpoints',
  'clu_metrics',
  'function',
  'models',
  'optimizers',
  'partitioning',
  'require',
]


FOLDER = pathlib.Path(models.__file__).parent


def function(kind: str, name: str) -> Callable[..., Any]:
  """Returns what `python -m t5x.KIND` calls, such as `t5x.train.train`."""
  return require(importlib.import_module(f't5x.{kind}'), name)


def call(configured: Callable[[], Any]) -> None:
  """Calls such a function, as T5X's commands do.

  Raises:
    UserError: if T5X refuses something.
  """
  import tensorflow as tf

  logging.set_verbosity(logging.INFO)  # T5X tells how it goes by its log.
  tf.config.experimental.set_visible_devices([], 'GPU')
  try:
    configured()
  except (AssertionError, TypeError, ValueError) as error:
    place = traceback.extract_tb(error.__traceback__)[-1].filename
    is_theirs = FOLDER in pathlib.Path(place).parents
    if is_theirs and not isinstance(error, UserError):
      raise UserError(f'T5X refuses this run: {error}') from error
    raise
  jax.effects_barrier()


def latest_step(folder: str) -> int | None:
  """Returns the step of the newest checkpoint of a run; None without any."""
  return require(checkpoints, 'latest_step')(folder)


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
      'API has changed: install the commit that docs/tutorials/t5x.md names.'
    ) from error
