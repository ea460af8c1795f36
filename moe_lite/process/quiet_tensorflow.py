"""Imports TensorFlow without its notices, and keeps it off accelerators."""

import importlib
import os
import sys


def import_tensorflow() -> None:
  """Imports TensorFlow without its notices, and keeps it off accelerators.

  TensorFlow prints its notices from C++ before any setting takes effect. They
  would bury a message of one line about a mistake.
  """
  sys.stderr.flush()
  terminal = os.dup(2)
  with open(os.devnull, 'wb') as nowhere:
    os.dup2(nowhere.fileno(), 2)
    try:
      # SeqIO imports TensorFlow, and prints notices of its own.
      importlib.import_module('seqio')
      hide_accelerators()
    finally:
      os.dup2(terminal, 2)
      os.close(terminal)


def hide_accelerators() -> None:
  """Keeps TensorFlow from taking memory of accelerators that JAX needs."""
  import tensorflow as tf

  for kind in ('GPU', 'TPU'):
    try:
      tf.config.set_visible_devices([], kind)
    except RuntimeError:  # It is too late: TensorFlow has taken its devices.
      pass
