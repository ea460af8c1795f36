"""Mixtures of parameter-efficient experts on a frozen T5.

An adapter stands at a named site of a T5 layer; see `moe_lite.adapters`. The
network is in `moe_lite.t5`, and its losses and decoding are in
`moe_lite.models`. Three functions are for notebooks: `load` loads a trained
model (`moe_lite.inference.loading`), `finetune` trains a run as the command
does (`moe_lite.training.finetuning`), and `evaluate` evaluates it
(`moe_lite.evaluation.from_python`).

Importing this package imports neither TensorFlow nor SeqIO. Only training and
evaluation import them, here and in the commands (`python -m moe_lite.train` and
its siblings).
"""

from typing import TYPE_CHECKING

from moe_lite.core import facade, moved
from moe_lite.core.version import VERSION

if TYPE_CHECKING:
  from moe_lite.evaluation.from_python import evaluate
  from moe_lite.inference.loading import load
  from moe_lite.training.finetuning import finetune

__all__ = ['evaluate', 'finetune', 'load']
__version__ = VERSION

moved.install()

# Imported when they are asked for, because `import moe_lite` should not import
# JAX.
__getattr__ = facade.lazy(
  __name__,
  {
    'evaluate': 'evaluation.from_python',
    'finetune': 'training.finetuning',
    'load': 'inference.loading',
  },
)
