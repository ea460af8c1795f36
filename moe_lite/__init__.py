"""Mixtures of parameter-efficient experts on a frozen T5.

An adapter stands at a named site of a T5 layer; see `moe_lite.adapters`. The
network is `moe_lite.t5`, losses and scoring are `moe_lite.models`, and `load`
gives a trained model to a notebook, see `moe_lite.pretrained`. Importing this
package imports neither TensorFlow nor SeqIO; only the entry points (`python -m
moe_lite.train` and its siblings) do.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from moe_lite.pretrained import load

__all__ = ['load']
__version__ = '0.1.0'


def __getattr__(name: str) -> Any:
  # JAX is loaded by whoever loads a model, not by `import moe_lite`.
  if name in __all__:
    from moe_lite import pretrained

    return getattr(pretrained, name)
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
