"""TensorFlow, imported without its notices and kept off accelerators."""

import os
import sys


def import_tensorflow() -> None:
  """Imports TensorFlow without its notices, and keeps it off accelerators.

  It prints them from C++ to the terminal before any setting takes effect, and
  they would bury a one-line message on a mistake.
  """
  sys.stderr.flush()
  terminal = os.dup(2)
  with open(os.devnull, 'wb') as nowhere:
    os.dup2(nowhere.fileno(), 2)
    try:
      import seqio  # noqa: F401  brings TensorFlow, and notices of its own

      hide_accelerators()
    finally:
      os.dup2(terminal, 2)
      os.close(terminal)


def hide_accelerators() -> None:
  """Keeps TensorFlow from taking the memory of accelerators from JAX."""
  import tensorflow as tf

  for kind in ('GPU', 'TPU'):
    try:
      tf.config.set_visible_devices([], kind)
    except RuntimeError:  # Too late: its devices are initialised.
      pass
