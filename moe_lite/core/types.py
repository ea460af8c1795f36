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
# Name of a feature to its array; `features` has the names.
Batch = Mapping[str, Array]
# What a loss says beside its value: name to number. Under `routing` stand the
# statistics of every router.
Metrics = dict[str, Any]
Axes = tuple[str, ...]
