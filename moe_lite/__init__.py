"""Mixtures of parameter-efficient experts on a frozen T5.

An adapter stands at a named site of a T5 layer; see `moe_lite.adapters`. The
network is in `moe_lite.t5`, and its losses and decoding are in
`moe_lite.models`. The function `load` loads a trained model, for example in a
notebook; see `moe_lite.inference.loading`.

Importing this package imports neither TensorFlow nor SeqIO. Only the commands
(`python -m moe_lite.train` and its siblings) import them.
"""

from typing import TYPE_CHECKING, Any

from moe_lite.core import moved
from moe_lite.core.version import VERSION

if TYPE_CHECKING:
  from moe_lite.inference.loading import load

__all__ = ['load']
__version__ = VERSION

moved.install()


def __getattr__(name: str) -> Any:
  # Imported here, because `import moe_lite` should not import JAX.
  if name == 'load':
    from moe_lite.inference import loading

    return loading.load
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
