"""Log-probabilities of several targets for each of many inputs.

The score of a target is its log-probability given the input, summed over its
tokens, EOS included. An input is encoded once, and all of its targets are
decoded against that encoding: with C targets an input, the encoder does 1/C of
the work that scoring one pair after another would take. The scores are the
same.

The model comes as two functions, so that this module needs no model.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from moe_lite.core.types import Array
from moe_lite.inference.padding import (
  Input,
  Shapes,
  bucket,
  pad,
  pad_inputs,
  shift_right,
)

# From the encoder's part of a batch, as `pad_inputs` gives it, to the encoding.
Encode = Callable[[Mapping[str, np.ndarray]], Array]
# From an encoding, the encoder's part of the batch, and the decoder's inputs
# and targets, both [B, C, T], to the log-probabilities of the targets, [B, C].
ScoreChoices = Callable[..., Array]

# One call decodes one of these numbers of targets for each input, so that few
# shapes are compiled.
_NUMBERS_OF_TARGETS = (1, 2, 3, 4, 8)
# Targets are padded to this length, twice it, and so on. Most are short.
_SHORTEST = 4
# The logits of all targets of a call are in memory together. For each input, a
# call therefore decodes at most so many tokens, or else a single target.
_MOST_TOKENS = 256


@dataclasses.dataclass(frozen=True)
class Choices:
  """An input, and the targets to score for it.

  Attributes:
    inputs: what the encoder reads.
    targets: the ids of each of C targets, which end with EOS.
  """

  inputs: Input
  targets: Sequence[np.ndarray]


def score(
  choices: Sequence[Choices],
  encode: Encode,
  score_choices: ScoreChoices,
  shapes: Shapes,
) -> list[np.ndarray]:
  """Scores all targets of all inputs.

  A batch is `batch_size` inputs, padded to a length from a short list. It is
  encoded once. Then the first few targets of all its inputs are decoded
  together, then the next ones, and so on. Every call thus has one of few
  shapes, however many targets there are, and the encoding of an input stays on
  the device that made it.

  Args:
    choices: every input with its targets.
    encode: the encoder; it is compiled for each shape that it is called with.
    score_choices: the decoder; it is compiled in the same way.
    shapes: the shapes to pad to.

  Returns:
    The log-probabilities of the targets of each input, float32 [C].
  """
  scores = [np.zeros(len(x.targets), np.float32) for x in choices]
  pending: list[tuple[list[int], range, Array]] = []

  def finish() -> None:
    for batch, part, values in pending:
      for i, row in zip(batch, np.asarray(values), strict=False):
        here = scores[i][part.start : part.stop]
        here[:] = row[: len(here)]
    pending.clear()

  for batch in _batches(choices, shapes.batch_size):
    members = [choices[i] for i in batch]
    inputs = pad_inputs(
      [x.inputs for x in members], shapes.batch_size, shapes.input_length
    )
    encoded = encode(inputs)
    # While the device works on this batch, the scores of the one before it are
    # fetched.
    finish()
    for part in _parts(members, shapes.target_length):
      targets = _targets(members, part, shapes)
      values = score_choices(encoded, inputs, shift_right(targets), targets)
      pending.append((batch, part, values))
  finish()
  return scores


def _batches(
  choices: Sequence[Choices], batch_size: int
) -> Iterator[list[int]]:
  """Yields the indices of the inputs of each batch."""
  # The inputs of a batch have like numbers of targets and like lengths, so that
  # little is padded.
  order = sorted(
    range(len(choices)),
    key=lambda i: (-len(choices[i].targets), len(choices[i].inputs.ids)),
  )
  for start in range(0, len(order), batch_size):
    yield order[start : start + batch_size]


def _parts(members: Sequence[Choices], target_length: int) -> Iterator[range]:
  """Yields which targets of every input of a batch each call decodes."""
  longest = max(len(target) for x in members for target in x.targets)
  length = bucket(longest, target_length, _SHORTEST)
  fitting = [
    n for n in _NUMBERS_OF_TARGETS if n == 1 or n * length <= _MOST_TOKENS
  ]
  most = max(len(x.targets) for x in members)
  at_once = next((n for n in fitting if n >= most), fitting[-1])
  for start in range(0, most, at_once):
    yield range(start, start + at_once)


def _targets(
  members: Sequence[Choices], part: range, shapes: Shapes
) -> np.ndarray:
  """The targets of one call, [batch_size, C, T], all 0 where there is none."""
  ids = [
    x.targets[i] if i < len(x.targets) else () for x in members for i in part
  ]
  count = shapes.batch_size * len(part)
  padded = pad(ids, count, shapes.target_length, _SHORTEST)
  return padded.reshape(shapes.batch_size, len(part), -1)
