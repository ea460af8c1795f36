"""A model with its vocabulary: texts in, texts and numbers out.

What is compiled is kept: a call whose batch and lengths fall into the same few
shapes as an earlier one's compiles nothing. A result does not depend on what
else is in its batch, up to rounding.
"""

import functools
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, overload

import numpy as np

from moe_lite.core.errors import UserError
from moe_lite.inference import scoring, token_routing
from moe_lite.inference import vocabulary as vocabularies
from moe_lite.inference.generation import Generator
from moe_lite.inference.padding import (
  Input,
  Shapes,
  bucket,
  pad_inputs,
  pad_targets,
)
from moe_lite.inference.scoring import Choices
from moe_lite.inference.trained import Trained
from moe_lite.models import decoding


class TextModel:
  """A model with its vocabulary.

  Attributes:
    network: its sizes, and what stands at which site.
    facts: which base and adapters they are; see `Trained`.
    vocabulary: of its inputs and targets.
  """

  def __init__(
    self,
    trained: Trained,
    text: vocabularies.Text,
    batch_size: int = 16,
    max_input_length: int = 512,
  ):
    """Args as of `load`, which makes one."""
    trained.check_batch(batch_size)
    if max_input_length < 1:
      raise UserError(
        f'max_input_length = {max_input_length} must be positive.'
      )
    self.network = trained.model.module.config
    self.facts = trained.facts.to_json()
    self.vocabulary = text.vocabulary
    self._trained, self._text = trained, text
    self._batch_size, self._input_length = batch_size, max_input_length
    model = trained.model
    self._encode = trained.compile(model.encode, gather=False)
    self._score_choices = trained.compile(model.score_choices)
    self._routing = trained.compile(model.routing_tokens)
    # By decoder and shapes.
    self._generators: dict[Any, Generator] = {}

  def __repr__(self) -> str:
    facts = self.facts
    method = ', '.join(f'{k}: {x}' for k, x in facts['method'].items())
    source = facts['base']['source'] if facts['base'] else 'no base'
    counts = facts['base_parameters'], facts['trainable_parameters']
    return (
      f'TextModel({source}, {counts[0]:,} parameters; '
      f'{method or "no adapters"}, {counts[1]:,} parameters)'
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
  ) -> str | list[str]:
    """Free text for an input, or for each of several.

    The likeliest token is taken at every step, unless there are beams, or
    tokens are drawn, which `temperature`, `top_k` and `top_p` ask for. Another
    seed compiles nothing anew; other options do.

    Args:
      inputs: a text or several.
      max_length: ids of an output, at most.
      num_beams: of a beam search, whose best is returned.
      temperature: see `decoding.sample`.
      top_k: likewise.
      top_p: likewise.
      seed: of draws, which also depend on all of `inputs`.

    Raises:
      UserError: for an empty input, or options out of their range.
    """
    numbers = {'max_length': max_length, 'num_beams': num_beams, 'seed': seed}
    for name, value in numbers.items():
      least = 0 if name == 'seed' else 1
      if not isinstance(value, int) or value < least:
        raise UserError(
          f'{name} = {value!r} must be a whole number of at least {least}.'
        )
    texts = _several(inputs)
    ids = self._input_ids(texts)
    options = {'temperature': temperature, 'top_k': top_k, 'top_p': top_p}
    generator = self._generator(len(ids), max_length, num_beams, options)
    # By length, so that little is padded.
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    outputs = [''] * len(ids)
    batches = generator((Input(ids[i]) for i in order), seed=seed)
    decoded = (row for batch in batches for row in batch)
    for i, row in zip(order, decoded, strict=True):
      outputs[i] = self._text.text(row)
    return outputs[0] if isinstance(inputs, str) else outputs

  @overload
  def score(self, inputs: str, choices: Sequence[str]) -> np.ndarray: ...

  @overload
  def score(
    self,
    inputs: Sequence[str],
    choices: Sequence[str] | Sequence[Sequence[str]],
  ) -> list[np.ndarray]: ...

  def score(
    self,
    inputs: str | Sequence[str],
    choices: Sequence[str] | Sequence[Sequence[str]],
  ) -> np.ndarray | list[np.ndarray]:
    """Log-probabilities of answers, summed over tokens, EOS included.

    They are those by which evaluation ranks answer choices.

    Args:
      inputs: a text or several.
      choices: C answers; or, for several inputs, those of each.

    Returns:
      [C] float32; or a list with that of each input.

    Raises:
      UserError: if inputs or choices are empty.
    """
    texts = _several(inputs)
    sets = _choices(inputs, len(texts), choices)
    asked = [
      Choices(
        Input(ids), [np.array(self._text.targets(x), np.int32) for x in several]
      )
      for ids, several in zip(self._input_ids(texts), sets, strict=True)
    ]
    room = _room([target for x in asked for target in x.targets])
    shapes = self._shapes(len(asked), room)
    scores = scoring.score(asked, self._encode, self._score_choices, shapes)
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
      text: an input.
      target: what the decoder reads; without it the encoder alone runs.

    Raises:
      UserError: if there are no routers, or the text is empty.
    """
    ids = self._input_ids([text])
    size = self._shapes(1, 1).batch_size
    batch = pad_inputs([Input(ids[0])], size, self._input_length)
    if target is not None:
      ids.append(np.array(self._text.targets(target), np.int32))
      batch |= pad_targets(ids[1:], size, _room(ids[1:]))
    statistics = self._routing(batch)
    if not statistics:
      raise UserError(
        f'{self!r} has no routers. MoV and MoLoRA route: give load() adapters '
        'of such a method.'
      )
    return token_routing.of_text(
      statistics, *(self._text.pieces(x.tolist()) for x in ids)
    )

  def _input_ids(self, texts: Sequence[str]) -> list[np.ndarray]:
    """Ids of every input, trimmed as the tasks' are: their EOS may go."""
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
    """Of a power of two of rows, so that one text takes no full batch."""
    size = self._trained.mesh.shape['data']
    while size < min(count, self._batch_size):
      size *= 2
    size = min(size, self._batch_size)
    return Shapes(size, self._input_length, target_length)

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
    if key not in self._generators:
      decode_fn: Any = decoding.greedy
      if drawing:
        temperature = options['temperature']
        options['temperature'] = 1.0 if temperature is None else temperature
        decode_fn = functools.partial(decoding.sample, **options)
      elif num_beams != 1:
        decode_fn = decoding.beam_search
      self._generators[key] = Generator(
        self._trained, shapes, decode_fn, num_beams
      )
    return self._generators[key]


def _several(texts: str | Sequence[str], name: str = 'inputs') -> list[str]:
  if not isinstance(texts, str | Iterable):
    raise UserError(f'{name} = {texts!r} must be a text or several.')
  several = [texts] if isinstance(texts, str) else list(texts)
  if not several:
    raise UserError(f'There are no {name}: give at least one text.')
  return several


def _choices(inputs: Any, count: int, choices: Any) -> list[list[str]]:
  """The choices of every one of `count` inputs; they may be the same for all.

  Args: `inputs`, of which a text alone has no lists of choices.
  """
  if isinstance(choices, str) or not isinstance(choices, Iterable):
    raise UserError(f'choices = {choices!r} must be a list of texts.')
  choices = list(choices)
  if wrong := [x for x in choices if not isinstance(x, Iterable)]:
    raise UserError(f'choices has {wrong[0]!r}, which is no text.')
  if all(isinstance(choice, str) for choice in choices):
    return [_several(choices, 'choices')] * count
  if isinstance(inputs, str) or len(choices) != count:
    raise UserError(
      f'{len(choices)} lists of choices for {count} inputs: give one list of '
      'texts for all inputs, or a list for each.'
    )
  if any(isinstance(part, str) for part in choices):
    raise UserError('Some choices are texts, and some are lists of texts.')
  return [_several(part, 'choices') for part in choices]


def _room(rows: Sequence[np.ndarray]) -> int:
  """A length that the longest fits in, one of few."""
  longest = max(len(row) for row in rows)
  return bucket(longest, max(8, 2 * longest))
