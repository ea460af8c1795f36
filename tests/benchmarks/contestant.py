"""What the benchmark times, and how."""

import dataclasses
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Of the network and the batch, in the dimension letters' order."""

  batch: int
  input_length: int
  target_length: int
  emb_dim: int
  mlp_dim: int
  num_heads: int
  head_dim: int
  vocab_size: int
  num_layers: int


@dataclasses.dataclass(frozen=True)
class Contestant:
  """One training step of one method, compiled and ready.

  Attributes:
    library: 'moe_lite' or its peer.
    method: such as 'mov'.
    step: runs one step to its end.
    facts: what is known of the step before it is timed.
  """

  library: str
  method: str
  step: Callable[[], Any]
  facts: Mapping[str, Any]


def interleave(
  contestants: Sequence[Contestant], repeats: int, warm_up: int = 2
) -> list[list[float]]:
  """Seconds of `repeats` steps of each contestant.

  Every round runs each contestant once, in a new random order, so that other
  work on the machine slows all alike, and nobody always follows the same
  neighbour.
  """
  order = random.Random(0)
  times = [[] for _ in contestants]
  for i in range(warm_up + repeats):
    for j in order.sample(range(len(contestants)), len(contestants)):
      start = time.perf_counter()
      contestants[j].step()
      if i >= warm_up:
        times[j].append(time.perf_counter() - start)
  return times


def median_ratio(times: Sequence[float], others: Sequence[float]) -> float:
  """Median over rounds of one step's time over another's of that round."""
  return round(
    statistics.median(a / b for a, b in zip(times, others, strict=True)), 3
  )
