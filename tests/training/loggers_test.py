"""Loggers: what a run tells them, and Weights & Biases by a stub."""

import functools
import sys
import types

import pytest

from moe_lite.core.errors import UserError
from moe_lite.training import loggers, run_folder


class Stub(types.ModuleType):
  """`wandb` as far as it is used."""

  def __init__(self):
    super().__init__('wandb')
    self.inits, self.logged, self.finished = [], [], 0

  def init(self, **options):
    self.inits.append(options)
    return self

  def log(self, scalars, step):
    self.logged.append((step, scalars))

  def finish(self):
    self.finished += 1


def test_wandb_takes_all_metrics_and_goes_on_with_its_run(
  tmp_path, monkeypatch
):
  stub = Stub()
  monkeypatch.setitem(sys.modules, 'wandb', stub)
  folder = tmp_path / 'a_run'
  folder.mkdir()
  wandb = functools.partial(loggers.wandb, entity='us')
  for step in (1, 2):
    metrics = run_folder.Metrics(str(folder), step - 1, [wandb])
    metrics.write(step, {'loss': 0.5})
    metrics.write_validation(step, {'accuracy': 60.0})
    metrics.close()
  assert stub.logged == [
    (1, {'loss': 0.5}),
    (1, {'validation/accuracy': 60.0}),
    (2, {'loss': 0.5}),
    (2, {'validation/accuracy': 60.0}),
  ]
  first, second = stub.inits
  assert first == second
  assert (first['project'], first['name'], first['entity']) == (
    *('moe_lite', 'a_run'),
    'us',
  )
  assert first['resume'] == 'allow' and len(first['id']) == 32
  assert stub.finished == 2


def test_without_wandb_one_message_says_what_to_install(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'wandb', None)
  with pytest.raises(UserError, match=r"pip install 'moe_lite\[wandb\]'"):
    loggers.wandb(str(tmp_path))


def test_tensorboard_lies_in_the_folder_of_the_run(tmp_path):
  writer = loggers.tensorboard(str(tmp_path))
  writer.write_scalars(1, {'loss': 0.5})
  writer.flush()
  writer.close()
  (events,) = tmp_path.glob('events.*')
  assert events.stat().st_size
