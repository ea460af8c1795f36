"""Free text for inputs, batch after batch, in the order of the inputs."""

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import gin
import jax
import jax.numpy as jnp
import numpy as np

from moe_lite.core.errors import UserError
from moe_lite.core.features import DECODER_INPUTS, ENCODER_INPUTS
from moe_lite.core.types import Array, Tree
from moe_lite.inference.padding import Input, Shapes, pad_inputs
from moe_lite.inference.trained import Trained
from moe_lite.models import decoding


class Generator:
  """Decodes outputs for inputs.

  A function is compiled for each length that inputs are padded to. Where tokens
  are drawn, a draw depends on the seed and on the position of its batch. An
  interrupted run that goes on at a whole batch therefore draws what an
  uninterrupted one would have drawn.
  """

  def __init__(
    self,
    trained: Trained,
    shapes: Shapes,
    decode_fn: Callable[..., Any] = decoding.greedy,
    num_decodes: int = 1,
    seed: int = 0,
    all_decodes: bool = False,
  ):
    """Makes a generator; nothing is compiled yet.

    Args:
      trained: the model.
      shapes: the shapes to pad to; outputs end at `target_length`.
      decode_fn: how to decode; see `models.decoding`.
      num_decodes: the number of beams of `decoding.beam_search`, or of draws.
      seed: the seed of draws.
      all_decodes: whether to give all `num_decodes` outputs of an input, those
        of a search with the best first, and not the best alone.

    Raises:
      UserError: if `decode_fn` decodes one sequence and `num_decodes` is not 1,
        or if the mesh cannot split the batch.
    """
    options = inspect.signature(decode_fn).parameters
    has_beams = 'num_decodes' in options
    gives_all = all_decodes and 'return_all' in options
    draws = all_decodes and _name(decode_fn) == decoding.sample.__name__
    if num_decodes != 1 and not has_beams and not draws:
      raise UserError(
        f'NUM_DECODES = {num_decodes}, but {_name(decode_fn)} decodes one '
        'sequence: give --gin.DECODER=@decoding.beam_search, or NUM_DECODES=1.'
      )
    trained.check_batch(shapes.batch_size)
    self._shapes = shapes
    self._seed = seed
    self._all_decodes = all_decodes
    self._checkpoint = trained.facts.checkpoint
    model = trained.model

    def predict(
      params: Tree, seed: Array, index: Array, inputs: Mapping[str, Array]
    ) -> Array:
      size = (len(inputs[ENCODER_INPUTS]), shapes.target_length)
      outputs = jnp.zeros(size, jnp.int32)
      decode = lambda rng, **options: model.predict_batch(
        params,
        {**inputs, DECODER_INPUTS: outputs},
        decode_fn=decode_fn,
        rng=rng,
        **options,
      )
      rng = jax.random.fold_in(jax.random.key(seed), index)
      if not has_beams and num_decodes > 1:
        return jax.lax.map(decode, jax.random.split(rng, num_decodes))
      if not gives_all or num_decodes == 1:
        return decode(rng, num_decodes=num_decodes)[None]
      beams, _ = decode(rng, num_decodes=num_decodes, return_all=True)
      return beams.swapaxes(0, 1)

    self._predict = trained.compile(predict)

  def __call__(
    self,
    inputs: Iterable[Input],
    first_batch: int = 0,
    seed: int | None = None,
  ) -> Iterator[list[Any]]:
    """Yields the outputs of each batch, without EOS and padding.

    With `all_decodes`, the outputs of an input are a list of `num_decodes`.

    Args:
      inputs: the inputs of all examples from batch `first_batch` on.
      first_batch: the number of batches that were decoded before.
      seed: the seed of draws; None takes that of the generator.

    Raises:
      UserError: if an output is not finite.
    """
    key = np.int64(self._seed if seed is None else seed)
    size = self._shapes.batch_size
    for index, batch in enumerate(_batched(inputs, size), first_batch):
      if index == 0:  # If it is not full, there are no others.
        size = self._shapes.for_examples(len(batch)).batch_size
      padded = pad_inputs(batch, size, self._shapes.input_length)
      outputs = np.asarray(self._predict(key, np.int32(index), padded))
      outputs = outputs[:, : len(batch)]
      if bad := int((outputs == decoding.NOT_FINITE).any((0, 2)).sum()):
        raise UserError(
          f'The outputs of {self._checkpoint} for {bad} of {len(batch)} inputs '
          f'of batch {index} are not finite. It diverged, or the activations '
          'overflow: try another checkpoint, or '
          '--gin.ACTIVATION_DTYPE="\'float32\'".'
        )
      if self._all_decodes:
        yield [
          list(map(_trim, of_input)) for of_input in outputs.swapaxes(0, 1)
        ]
      else:
        yield [_trim(row) for row in outputs[0]]


def ended(ids: np.ndarray, length: int) -> np.ndarray:
  """Returns an output with its EOS, unless it was cut off before that.

  Args:
    ids: an output without EOS, as `Generator` gives it.
    length: the greatest number of ids of an output, EOS included.
  """
  return ids if len(ids) == length else np.append(ids, decoding.EOS_ID)


def describe_decoder(decode_fn: Callable[..., Any]) -> dict[str, Any]:
  """The name of a decoder, and what gin binds to its parameters."""
  try:
    options = gin.get_bindings(decode_fn)
  except ValueError:  # Python code may pass one that gin does not know.
    options = {}
  return {'name': _name(decode_fn), **options}


def _name(decode_fn: Callable[..., Any]) -> str:
  """The name of a decoder, of which options may be bound."""
  while isinstance(decode_fn, functools.partial):
    decode_fn = decode_fn.func
  return decode_fn.__name__


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
  """The ids before EOS, or before the padding of an output without EOS."""
  ends = np.flatnonzero((ids == decoding.EOS_ID) | (ids == 0))
  return ids[: ends[0]] if ends.size else ids
