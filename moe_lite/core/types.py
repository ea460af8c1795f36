"""Types, and the letters of dimensions, that every module shares.

Shapes in docstrings and einsums use one set of letters:

  B batch, L length (S source, T target where two lengths meet), D embed,
  F mlp, H heads, K kv (per head), E experts, R rank, V vocabulary, N layers.

The names of logical axes are in `logical_axes`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

Array = jax.Array
DType = Any
Shape = Sequence[int]
Initializer = Callable[..., Array]
# A tree is a nested plain dict. Its leaves are arrays, or the shapes of arrays.
Tree = Mapping[str, Any]
# A batch maps the name of each feature (see `features`) to its array.
Batch = Mapping[str, Array]
# A loss reports metrics beside its value. They map names to numbers. The entry
# `routing` holds the statistics of every router.
Metrics = dict[str, Any]
Axes = tuple[str, ...]
# An adapter's parameters lie under the name of its site with this suffix.
ADAPTER_SUFFIX = '_adapter'
