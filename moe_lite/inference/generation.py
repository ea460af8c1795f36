"""Free text from inputs: batches of few shapes, in order."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import gin
import jax
import jax.numpy as jnp
import numpy as np

from moe_lite.core.errors import UserError
from moe_lite.core.types import Array, Tree
from moe_lite.inference.padding import Input, Shapes, pad_inputs
from moe_lite.inference.trained import Trained
from moe_lite.models import decoding


class Generator:
  """Decodes outputs for inputs, with one compiled function per input length.

  A draw depends on the seed and on the position of its batch, so that going on
  at a whole batch gives what an uninterrupted run would have given.
  """

  def __init__(
    self,
    trained: Trained,
    shapes: Shapes,
    decode_fn: Callable[..., Any] = decoding.greedy,
    num_decodes: int = 1,
    seed: int = 0,
  ):
    """Args: `decode_fn`, see `decoding`; `num_decodes`, beams of its search."""
    options = inspect.signature(decode_fn).parameters
    if num_decodes != 1 and 'num_decodes' not in options:
      raise UserError(
        f'NUM_DECODES = {num_decodes}, but {decode_fn.__name__} decodes one '
        'sequence: give --gin.DECODER=@decoding.beam_search, or NUM_DECODES=1.'
      )
    trained.check_batch(shapes.batch_size)
    self._shapes = shapes
    self._seed = seed
    model = trained.model

    def predict(
      params: Tree, seed: Array, index: Array, inputs: Mapping[str, Array]
    ) -> Array:
      outputs = jnp.zeros((shapes.batch_size, shapes.target_length), jnp.int32)
      return model.predict_batch(
        params,
        {**inputs, 'decoder_input_tokens': outputs},
        decode_fn=decode_fn,
        num_decodes=num_decodes,
        rng=jax.random.fold_in(jax.random.key(seed), index),
      )

    self._predict = trained.compile(predict)

  def __call__(
    self,
    inputs: Iterable[Input],
    first_batch: int = 0,
    seed: int | None = None,
  ) -> Iterator[list[np.ndarray]]:
    """Yields the outputs of one batch after another, without EOS and padding.

    Args:
      inputs: of all examples from batch `first_batch` on.
      first_batch: how many batches were decoded before.
      seed: of the draws; None for that of the generator.
    """
    key = np.int64(self._seed if seed is None else seed)
    size = self._shapes.batch_size
    for index, batch in enumerate(_batched(inputs, size), first_batch):
      padded = pad_inputs(batch, size, self._shapes.input_length)
      outputs = self._predict(key, np.int32(index), padded)
      yield [_trim(row) for row in np.asarray(outputs)[: len(batch)]]


def describe_decoder(decode_fn: Callable[..., Any]) -> dict[str, Any]:
  """Its name, and what gin binds to it."""
  try:
    options = gin.get_bindings(decode_fn)
  except ValueError:  # Gin does not know it: a call from Python.
    options = {}
  return {'name': decode_fn.__name__, **options}


def _batched(items: Iterable[Input], size: int) -> Iterator[list[Input]]:
  batch = []
  for item in items:
    batch.append(item)
    if len(batch) == size:
      yield batch
      batch = []
  if batch:
    yield batch


def _trim(ids: np.ndarray) -> np.ndarray:
  """What stands before EOS, or before the padding of an unfinished output."""
  ends = np.flatnonzero((ids == decoding.EOS_ID) | (ids == 0))
  return ids[: ends[0]] if ends.size else ids
