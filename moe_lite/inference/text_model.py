"""A model with its vocabulary: texts in, texts and numbers out.

Batches and lengths are padded to few shapes, and what was compiled for a shape
is kept, so that a later call with the same shapes compiles nothing. Up to
rounding, a result does not depend on what else is in its batch.
"""

import dataclasses
import functools
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any, overload

import numpy as np

from moe_lite.core import json_text
from moe_lite.core.errors import UserError
from moe_lite.inference import scoring, token_routing
from moe_lite.inference.generation import Generator
from moe_lite.inference.named_adapters import NamedAdapters, Which
from moe_lite.inference.padding import (
  Input,
  Shapes,
  bucket,
  pad_inputs,
  pad_targets,
)
from moe_lite.inference.programs import Programs
from moe_lite.inference.scoring import Choices
from moe_lite.inference.texts import choices_of_each, several
from moe_lite.inference.trained import Trained
from moe_lite.inference.vocabulary import Text
from moe_lite.models import decoding
from moe_lite.t5.description import to_json


class TextModel:
  """A model with its vocabulary.

  Attributes:
    network: the network's sizes, and its adapters.
    facts: what the base and the adapters are, for JSON; see `facts.Facts`.
    vocabulary: the vocabulary of inputs and targets.
  """

  def __init__(
    self,
    trained: Trained,
    text: Text,
    batch_size: int = 16,
    max_input_length: int = 512,
  ):
    """Makes a model of texts; see `loading.load` for its arguments.

    Raises:
      UserError: if the mesh cannot split a batch, or if `max_input_length` is
        not positive.
    """
    trained.check_batch(batch_size)
    if max_input_length < 1:
      raise UserError(
        f'max_input_length = {max_input_length} must be positive.'
      )
    self.vocabulary = text.vocabulary
    self._text = text
    self._batch_size, self._input_length = batch_size, max_input_length
    self._named = NamedAdapters(trained)
    # Models of one method share what is compiled.
    self._programs: dict[str, Programs] = {}
    self._run_with(trained)

  def add(
    self, name: str, path: str | os.PathLike[str], step: int | None = None
  ) -> None:
    """Reads further adapters for the base, which `use` then takes by name.

    Args:
      name: what to call them.
      path: see the `adapters` of `loading.load`.
      step: the step of a run's checkpoint; None takes the last one.

    Raises:
      UserError: if the name is taken, or if they do not stand on this base.
    """
    self._named.add(name, os.fspath(path), step)

  def use(self, adapters: Which) -> None:
    """Puts adapters over the base, in place of those that are there.

    The base is not copied. Nothing is compiled for adapters of a method that
    was used before with the same shapes.

    Args:
      adapters: the name of some that were added, a mapping of such names to
        weights, or None for the base alone. See `NamedAdapters.find`.

    Raises:
      UserError: for an unknown name, or adapters that cannot be mixed.
    """
    self._run_with(self._named.find(adapters))

  def _run_with(self, trained: Trained) -> None:
    self._now = trained
    self.network = trained.model.module.config
    self.facts = trained.facts.to_json()
    method = json_text.dumps(to_json(self.network), sort_keys=True)
    if method not in self._programs:
      self._programs[method] = Programs(dataclasses.replace(trained))
    self._run = self._programs[method]
    self._run.trained.params = trained.params

  def __repr__(self) -> str:
    facts = self._now.facts
    method = ', '.join(f'{k}: {x}' for k, x in facts.method.items())
    return (
      f'TextModel({facts.base.source}, {facts.base_parameters:,} parameters; '
      f'{method or "no adapters"}, {facts.trainable_parameters:,} parameters)'
    )

  @overload
  def generate(
    self,
    inputs: str,
    max_length: int = ...,
    *,
    num_beams: int = ...,
    temperature: float | None = ...,
    top_k: int = ...,
    top_p: float = ...,
    seed: int = ...,
    adapters: None = ...,
  ) -> str: ...

  @overload
  def generate(
    self,
    inputs: Sequence[str],
    max_length: int = ...,
    *,
    num_beams: int = ...,
    temperature: float | None = ...,
    top_k: int = ...,
    top_p: float = ...,
    seed: int = ...,
    adapters: Sequence[str | None] | None = ...,
  ) -> list[str]: ...

  def generate(
    self,
    inputs: str | Sequence[str],
    max_length: int = 64,
    *,
    num_beams: int = 1,
    temperature: float | None = None,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    adapters: Sequence[str | None] | None = None,
  ) -> str | list[str]:
    """Free text for an input, or for each of several.

    The likeliest token is taken at every step, unless there are beams, or
    tokens are drawn: `temperature`, `top_k` or `top_p` ask for that. With other
    options something is compiled anew, with another seed nothing is.

    Args:
      inputs: a text or several.
      max_length: the greatest number of ids in an output.
      num_beams: the number of beams of a beam search. Its best output is
        returned.
      temperature: see `decoding.sample`.
      top_k: see `decoding.sample`.
      top_p: see `decoding.sample`.
      seed: the seed of draws, which also depend on all of `inputs`.
      adapters: for each of several inputs the name of the adapters to use, or
        None for the base alone. None takes those of `use` for all.

    Raises:
      UserError: for an empty input, or for options out of their range.
    """
    numbers = {'max_length': max_length, 'num_beams': num_beams, 'seed': seed}
    for name, value in numbers.items():
      least = 0 if name == 'seed' else 1
      if not isinstance(value, int) or value < least:
        raise UserError(
          f'{name} = {value!r} must be a whole number of at least {least}.'
        )
    texts = several(inputs)
    if adapters is not None:
      of_rows = functools.partial(
        self.generate,
        max_length=max_length,
        num_beams=num_beams,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
      )
      return self._by_adapters(adapters, of_rows, inputs)
    ids = self._input_ids(texts)
    options = {'temperature': temperature, 'top_k': top_k, 'top_p': top_p}
    generator = self._generator(len(ids), max_length, num_beams, options)
    # Inputs of like length share a batch, so that little is padded.
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    outputs = [''] * len(ids)
    batches = generator((Input(ids[i]) for i in order), seed=seed)
    decoded = (row for batch in batches for row in batch)
    for i, row in zip(order, decoded, strict=True):
      outputs[i] = self._text.text(row)
    return outputs[0] if isinstance(inputs, str) else outputs

  @overload
  def score(
    self, inputs: str, choices: Sequence[str], *, adapters: None = ...
  ) -> np.ndarray: ...

  @overload
  def score(
    self,
    inputs: Sequence[str],
    choices: Sequence[str] | Sequence[Sequence[str]],
    *,
    adapters: Sequence[str | None] | None = ...,
  ) -> list[np.ndarray]: ...

  def score(
    self,
    inputs: str | Sequence[str],
    choices: Sequence[str] | Sequence[Sequence[str]],
    *,
    adapters: Sequence[str | None] | None = None,
  ) -> np.ndarray | list[np.ndarray]:
    """The log-probabilities of answers, summed over tokens, EOS included.

    Evaluation ranks answer choices by the same numbers.

    Args:
      inputs: a text or several.
      choices: C answers; for several inputs, also a list of answers for each.
      adapters: see `generate`.

    Returns:
      The log-probabilities, float32 [C]; for several inputs, a list of those of
      each.

    Raises:
      UserError: if inputs or choices are empty, or if a log-probability is not
        finite.
    """
    texts = several(inputs)
    sets = choices_of_each(inputs, len(texts), choices)
    if adapters is not None:
      return self._by_adapters(adapters, self.score, inputs, sets)
    asked = [
      Choices(
        Input(ids), [np.array(self._text.targets(x), np.int32) for x in several]
      )
      for ids, several in zip(self._input_ids(texts), sets, strict=True)
    ]
    room = _room([target for x in asked for target in x.targets])
    shapes = self._shapes(len(asked), room)
    scores = scoring.score(
      asked, self._run.encode, self._run.score_choices, shapes
    )
    if not all(np.isfinite(x).all() for x in scores):
      raise UserError(
        'Some scores are not finite. The checkpoint diverged, or the '
        'activations overflow: give load() another checkpoint, or '
        "dtype='float32'."
      )
    return scores[0] if isinstance(inputs, str) else scores

  def routing(
    self, text: str, target: str | None = None
  ) -> token_routing.TokenRouting:
    """What every router makes of every token of a text.

    Args:
      text: the input.
      target: the text that the decoder reads; None runs the encoder alone.

    Raises:
      UserError: if there are no routers, or if the text is empty.
    """
    ids = self._input_ids([text])
    size = self._shapes(1, 1).batch_size
    batch = pad_inputs([Input(ids[0])], size, self._input_length)
    if target is not None:
      ids.append(np.array(self._text.targets(target), np.int32))
      batch |= pad_targets(ids[1:], size, _room(ids[1:]))
    statistics = self._run.routing(batch)
    if not statistics:
      raise UserError(
        f'{self!r} has no routers. MoV and MoLoRA route: give load() adapters '
        'of such a method.'
      )
    return token_routing.of_text(
      statistics, *(self._text.pieces(x.tolist()) for x in ids)
    )

  def _by_adapters(
    self,
    names: Sequence[str | None],
    call: Callable[..., list[Any]],
    *rows: Sequence[Any],
  ) -> list[Any]:
    """Calls a method once for each adapters, with the rows that ask for them.

    Args:
      names: the name of the adapters of each row, or None.
      call: the method, which returns a result for each row.
      *rows: its arguments, with an entry for each row.
    """
    if isinstance(names, str) or isinstance(rows[0], str):
      raise UserError(
        'adapters names those of each of several inputs: give both as lists. '
        '`use` takes one name for all.'
      )
    if len(names) != len(rows[0]):
      raise UserError(
        f'adapters names {len(names)} for {len(rows[0])} inputs: give one for '
        'each.'
      )
    for name in names:
      self._named.find(name)  # All names are checked before anything runs.
    before, results = self._now, [None] * len(names)
    try:
      for name in dict.fromkeys(names):
        at = [i for i, other in enumerate(names) if other == name]
        self.use(name)
        found = call(*([x[i] for i in at] for x in rows))
        for i, result in zip(at, found, strict=True):
          results[i] = result
    finally:
      self._run_with(before)
    return results

  def _input_ids(self, texts: Sequence[str]) -> list[np.ndarray]:
    """The ids of every input, trimmed as tasks trim theirs: EOS may go, too.

    Raises:
      UserError: if routers decide by the task, which no text says.
    """
    if self._now.tasks is not None:
      raise UserError(
        f'The routers of {self.facts["checkpoint"]} decide by the task, and a '
        'text does not say its task. Assemble the experts under another router '
        '(see python -m moe_lite.library --help), or add and use a single '
        'expert by its folder, such as LIBRARY/experts/NAME.'
      )
    ids = [np.array(self._text.inputs(x), np.int32) for x in texts]
    limit = self._input_length
    if longer := [len(x) for x in ids if len(x) > limit]:
      warnings.warn(
        f'{len(longer)} of {len(ids)} inputs are trimmed to max_input_length = '
        f'{limit} ids; the longest has {max(longer)}. Give load() a larger '
        'max_input_length.',
        stacklevel=3,
      )
    return [x[:limit] for x in ids]

  def _shapes(self, count: int, target_length: int) -> Shapes:
    """The shapes of a call; a single text does not take a full batch."""
    parts = self._now.mesh.shape['data']
    shapes = Shapes(self._batch_size, self._input_length, target_length, parts)
    return shapes.for_examples(count)

  def _generator(
    self, count: int, max_length: int, num_beams: int, options: dict[str, Any]
  ) -> Generator:
    drawing = options != {'temperature': None, 'top_k': 0, 'top_p': 1.0}
    if drawing and num_beams != 1:
      raise UserError(
        f'num_beams = {num_beams} and {options}: beams are not drawn. Give one '
        'or the other.'
      )
    shapes = self._shapes(count, max_length)
    key = (shapes, num_beams, *options.values())
    if key not in self._run.generators:
      decode_fn: Any = decoding.greedy
      if drawing:
        temperature = options['temperature']
        options['temperature'] = 1.0 if temperature is None else temperature
        decode_fn = functools.partial(decoding.sample, **options)
      elif num_beams != 1:
        decode_fn = decoding.beam_search
      self._run.generators[key] = Generator(
        self._run.trained, shapes, decode_fn, num_beams
      )
    return self._run.generators[key]


def _room(rows: Sequence[np.ndarray]) -> int:
  """A length that the longest row fits in, out of few."""
  longest = max(len(row) for row in rows)
  return bucket(longest, max(8, 2 * longest))
