"""Types and dimension letters shared by every module.

Shapes in docstrings and einsums use one set of letters:

  B batch, L length (S source, T target where two lengths meet), D embed,
  F mlp, H heads, K kv (per head), E experts, R rank, V vocabulary, N layers.

Logical axis names (`partitioning.LOGICAL_AXES`) are those of T5X, plus `expert`
and `rank`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

Array = jax.Array
DType = Any
Shape = Sequence[int]
Initializer = Callable[..., Array]
# Nested plain dicts with arrays (or shape structs) at the leaves.
Tree = Mapping[str, Any]
Axes = tuple[str, ...]
