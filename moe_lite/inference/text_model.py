"""A model with its vocabulary: texts in, texts and numbers out.

Batches and lengths are padded to few shapes, and what was compiled for a shape
is kept, so that a later call with the same shapes compiles nothing. Up to
rounding, a result does not depend on what else is in its batch.
"""

import contextlib
import functools
import os
import warnings
from collections.abc import Sequence
from typing import Any, Unpack, overload

import numpy as np

from moe_lite.core.errors import UserError
from moe_lite.inference import token_routing
from moe_lite.inference.adapter_info import AdapterInfo, overview
from moe_lite.inference.generation import ended
from moe_lite.inference.generation_options import (
  Generated,
  GenerationOptions,
  Options,
  check_whole,
)
from moe_lite.inference.in_use import InUse
from moe_lite.inference.named_adapters import DEFAULT, NamedAdapters, Which
from moe_lite.inference.padding import (
  Input,
  Shapes,
  bucket,
  pad_inputs,
  pad_targets,
)
from moe_lite.inference.scoring import Choices
from moe_lite.inference.texts import choices_of_each, several
from moe_lite.inference.trained import Trained
from moe_lite.inference.vocabulary import Text
from moe_lite.t5.config import T5Config


class TextModel:
  """A model with its vocabulary.

  Attributes:
    vocabulary: the vocabulary of inputs and targets.
  """

  def __init__(
    self,
    trained: Trained,
    text: Text,
    batch_size: int = 16,
    max_input_length: int = 512,
    name: str = DEFAULT,
  ):
    """Makes a model of texts; see `loading.load` for its arguments.

    Args:
      trained: the model, whose adapters are called `name`.
      text: its vocabulary.
      batch_size: see there.
      max_input_length: see there.
      name: see above.

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
    self._named = NamedAdapters(trained, name)
    which = name if self._named.all else None
    self._in_use = InUse(self._named, trained, which)

  @property
  def network(self) -> T5Config:
    """The sizes of the network, and the adapters that are in use."""
    return self._in_use.trained.model.module.config

  @property
  def facts(self) -> dict[str, Any]:
    """What the base and the adapters in use are; see `facts.Facts`."""
    return self._in_use.trained.facts.to_json()

  @property
  def adapters(self) -> dict[str, AdapterInfo]:
    """What the adapters of each name are, in the order of their loading."""
    return {x: AdapterInfo.of(y) for x, y in self._named.all.items()}

  @property
  def active_adapter(self) -> Which:
    """Which adapters are in use, as `set_adapter` was given it."""
    return self._in_use.which

  def load_adapter(
    self,
    path: str | os.PathLike[str],
    adapter_name: str,
    step: int | None = None,
  ) -> None:
    """Reads further adapters for the base, which `set_adapter` takes by name.

    The name is PEFT's. The base is in memory once, and is not copied.

    Args:
      path: see the `adapters` of `loading.load`.
      adapter_name: what to call them.
      step: the step of a run's checkpoint; None takes the last one.

    Raises:
      UserError: if the name is taken, or if they do not stand on this base.
    """
    self._named.add(adapter_name, os.fspath(path), step)

  def set_adapter(self, adapter_name: Which) -> None:
    """Puts adapters over the base, in place of those that are there.

    The name is PEFT's. Nothing is compiled for adapters of a method that was
    used before with the same shapes.

    Args:
      adapter_name: the name of some that were loaded, a mapping of such names
        to weights, or None for the base alone. See `NamedAdapters.find`. The
        adapters that `loading.load` was given without a name are 'default'.

    Raises:
      UserError: for an unknown name, or adapters that cannot be mixed.
    """
    self._in_use.put(adapter_name)

  def disable_adapter(self) -> contextlib.AbstractContextManager[None]:
    """Uses the base alone within a `with` block. The name is PEFT's.

    Raises:
      UserError: if the adapters trained parameters of the base.
    """
    return self._in_use.for_a_while(None)

  def __repr__(self) -> str:
    """The base, and a line for each of its adapters."""
    facts = self._in_use.trained.facts
    return overview(facts, self.adapters, self.active_adapter)

  @overload
  def generate(
    self, inputs: str, max_length: int = ..., **options: Unpack[Options]
  ) -> str: ...

  @overload
  def generate(
    self,
    inputs: Sequence[str],
    max_length: int = ...,
    *,
    adapters: Sequence[str | None] | None = ...,
    **options: Unpack[Options],
  ) -> list[str]: ...

  @overload
  def generate(
    self,
    inputs: str | Sequence[str],
    max_length: int = ...,
    *,
    num_return_sequences: int | None = ...,
    return_scores: bool = ...,
    adapters: Sequence[str | None] | None = ...,
    **options: Unpack[Options],
  ) -> Any: ...

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
    num_return_sequences: int | None = None,
    return_scores: bool = False,
    adapters: Sequence[str | None] | None = None,
  ) -> Any:
    """Free text for an input, or for each of several.

    The likeliest token is taken at every step, unless there are beams, or
    tokens are drawn: `temperature`, `top_k` or `top_p` ask for that.

    Args:
      inputs: a text or several.
      max_length: the greatest number of ids in an output.
      num_beams: the number of beams of a beam search.
      temperature: see `decoding.sample`.
      top_k: see `decoding.sample`.
      top_p: see `decoding.sample`.
      seed: the seed of draws, which also depend on all of `inputs`.
      num_return_sequences: how many texts to give for each input. Drawn texts
        may be equal. A beam search gives its best ones, the best first, and at
        most `num_beams` of them. None gives one text.
      return_scores: whether to give each text as a `Generated`, which has its
        log-probability. `score` gives the same number for the text, unless the
        text was cut off at `max_length`, or the vocabulary would split it into
        other ids.
      adapters: for each of several inputs the name of the adapters to use, or
        None for the base alone. None takes those of `set_adapter` for all.

    Returns:
      For one input a text, and for several inputs a list with a text for each.
      If `num_return_sequences` is given, also if it is 1, there is a list of
      texts in place of each text. Transformers gives these lists as one. If
      `return_scores` is true, there is a `Generated` in place of each text.

    Raises:
      UserError: for an empty input, or for options out of their range.
    """
    check_whole('seed', seed, least=0)
    count = 1 if num_return_sequences is None else num_return_sequences
    options = GenerationOptions(
      max_length, num_beams, temperature, top_k, top_p, count
    )
    texts = several(inputs)
    if adapters is not None:
      generate = functools.partial(self._generate, options, seed, return_scores)
      results = self._in_use.by_rows(adapters, generate, inputs)
    else:
      results = self._generate(options, seed, return_scores, texts)
    if num_return_sequences is None:
      results = [of_input[0] for of_input in results]
    return results[0] if isinstance(inputs, str) else results

  def _generate(
    self,
    options: GenerationOptions,
    seed: int,
    return_scores: bool,
    texts: Sequence[str],
  ) -> list[list[Any]]:
    """A list of outputs for each input; see `generate`."""
    ids = self._input_ids(texts, depth=4)
    shapes = self._shapes(len(ids), options.max_length)
    generators = self._in_use.programs.generators
    key = shapes, options.compiled
    if key not in generators:
      generators[key] = options.generator(self._in_use.programs.trained, shapes)
    # Inputs of like length share a batch, so that little is padded.
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    batches = generators[key]((Input(ids[i]) for i in order), seed=seed)
    decoded = (rows for batch in batches for rows in batch)
    found = dict(zip(order, decoded, strict=True))
    outputs = [
      found[i][: options.num_return_sequences] for i in range(len(ids))
    ]
    written = [[self._text.text(row) for row in rows] for rows in outputs]
    if not return_scores:
      return written
    scores = self._score(
      ids, [[ended(x, options.max_length) for x in rows] for rows in outputs]
    )
    return [
      [Generated(text, float(score)) for text, score in zip(*pair, strict=True)]
      for pair in zip(written, scores, strict=True)
    ]

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
      The log-probabilities, float32 [C]; for several inputs, a list of arrays.

    Raises:
      UserError: if inputs or choices are empty, or if a score is not finite.
    """
    texts = several(inputs)
    sets = choices_of_each(inputs, len(texts), choices)
    if adapters is not None:
      return self._in_use.by_rows(adapters, self.score, inputs, sets)
    targets = [
      [np.array(self._text.targets(x), np.int32) for x in choices_of_one]
      for choices_of_one in sets
    ]
    scores = self._score(self._input_ids(texts), targets)
    return scores[0] if isinstance(inputs, str) else scores

  def _score(
    self, ids: Sequence[np.ndarray], targets: Sequence[Sequence[np.ndarray]]
  ) -> list[np.ndarray]:
    """The log-probabilities of targets for each input, float32 [C].

    Args:
      ids: the ids of the inputs.
      targets: the ids of C targets for each input.
    """
    asked = [
      Choices(Input(x), of_one) for x, of_one in zip(ids, targets, strict=True)
    ]
    room = _room([target for of_one in targets for target in of_one])
    return self._in_use.programs.score(asked, self._shapes(len(asked), room))

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
    statistics = self._in_use.programs.routing(batch)
    if not statistics:
      raise UserError(
        'There are no routers. MoV and MoLoRA route: load adapters of such a '
        f'method. {self!r}'
      )
    return token_routing.of_text(
      statistics, *(self._text.pieces(x.tolist()) for x in ids)
    )

  def _input_ids(
    self, texts: Sequence[str], depth: int = 3
  ) -> list[np.ndarray]:
    """The ids of every input, trimmed as tasks trim theirs: EOS may go, too.

    Raises:
      UserError: if routers decide by the task, which no text says.
    """
    if self._in_use.trained.tasks is not None:
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
        stacklevel=depth,  # The line of the user.
      )
    return [x[:limit] for x in ids]

  def _shapes(self, count: int, target_length: int) -> Shapes:
    """The shapes of a call; a single text does not take a full batch."""
    parts = self._in_use.trained.mesh.shape['data']
    shapes = Shapes(self._batch_size, self._input_length, target_length, parts)
    return shapes.for_examples(count)


def _room(rows: Sequence[np.ndarray]) -> int:
  """A length that the longest row fits in, out of few."""
  longest = max(len(row) for row in rows)
  return bucket(longest, max(8, 2 * longest))
