"""Mixtures of parameter-efficient experts on a frozen T5.

An adapter stands at a named site of a T5 layer; see `moe_lite.adapters`. The
network is `moe_lite.t5`, losses and scoring are `moe_lite.models`. Importing
this package imports neither TensorFlow nor SeqIO; only the entry points
(`python -m moe_lite.train` and its siblings) do.
"""

__version__ = '0.1.0'
