"""A bucket that T5X can write a run to, on this machine.

Arrays go through tensorstore's own driver to a server on loopback. TensorFlow
has the address of the real service built in, so its functions are led to the
folder that the server serves; so is `gcloud`, which T5X calls to rename.
"""

import functools
import glob
import shutil
import subprocess

import tensorflow as tf

from tests.checkpoints import bucket

_START = f'gs://{bucket.NAME}/'
_FILES = ('exists', 'isdir', 'makedirs', 'mkdir', 'remove', 'rmtree', 'stat')
_FILES += ('listdir', 'rename', 'copy')


def lead_to(root, monkeypatch):
  """Leads what TensorFlow does in the bucket to a folder."""

  def local(value):
    if isinstance(value, str) and value.startswith(_START):
      return str(root / value.removeprefix(_START))
    return value

  def led(function):
    @functools.wraps(function)
    def call(*arguments, **options):
      options = {name: local(x) for name, x in options.items()}
      return function(*map(local, arguments), **options)

    return call

  for name in _FILES:
    monkeypatch.setattr(tf.io.gfile, name, led(getattr(tf.io.gfile, name)))

  class GFile(tf.io.gfile.GFile):
    def __init__(self, name, mode='r'):
      super().__init__(local(name), mode)

  monkeypatch.setattr(tf.io.gfile, 'GFile', GFile)

  def find(pattern):
    found = glob.glob(local(pattern))
    return [x.replace(f'{root}/', _START) for x in found]

  monkeypatch.setattr(tf.io.gfile, 'glob', find)
  for place, name in (
    (tf.summary, 'create_file_writer'),
    (tf.train, 'get_checkpoint_state'),
  ):
    monkeypatch.setattr(place, name, led(getattr(place, name)))

  class Checkpoint(tf.train.Checkpoint):
    def write(self, path, *arguments):
      return super().write(local(path), *arguments)

    def read(self, path, *arguments):
      return super().read(local(path), *arguments)

  monkeypatch.setattr(tf.train, 'Checkpoint', Checkpoint)
  run = subprocess.run

  def gcloud(command, **options):
    if command[:3] != ['gcloud', 'storage', 'mv']:
      return run(command, **options)
    return shutil.move(local(command[3]), local(command[4]))

  monkeypatch.setattr(subprocess, 'run', gcloud)
