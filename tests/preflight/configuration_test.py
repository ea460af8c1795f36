"""A configuration for preflight: entry points, macros, and chosen meshes."""

import gin
import jax
import pytest

from moe_lite.core.errors import UserError
from moe_lite.preflight import chips, configuration, programs, report
from tests import gin_test
from tests.preflight.report_test import FITS

MINI = ('models/t5_1_1_mini', 'methods/mov', 'data/mini')


@pytest.fixture(autouse=True)
def empty_config():
  gin.clear_config()
  yield
  gin.clear_config()


@pytest.mark.parametrize(
  'run, entry',
  [('runs/finetune', programs.TRAIN), ('runs/eval', programs.EVAL)],
)
def test_paths_may_be_left_out(run, entry):
  assert configuration.configure(gin_test.command(*MINI, run)) == entry


def test_macros_are_given_values():
  configuration.configure(gin_test.command(*MINI, 'runs/finetune'))
  configuration.bind({'BATCH_SIZE': 8, 'BASE_DTYPE': 'int8'})
  assert gin.query_parameter('%BATCH_SIZE') == 8
  assert gin.query_parameter('%BASE_DTYPE') == 'int8'
  with pytest.raises(UserError, match="Did you mean 'BATCH_SIZE'"):
    configuration.bind({'BATCHSIZE': 8})


def test_a_grid_has_every_combination():
  assert list(configuration.grid({'A': [1, 2], 'B': ['x', 'y']})) == [
    {'A': 1, 'B': 'x'},
    {'A': 1, 'B': 'y'},
    {'A': 2, 'B': 'x'},
    {'A': 2, 'B': 'y'},
  ]
  assert list(configuration.grid({})) == [{}]


def test_the_first_mesh_that_fits_is_taken(monkeypatch):
  entry = configuration.configure(gin_test.command(*MINI, 'runs/finetune'))
  configuration.bind({'MESH': 'auto'})
  on = chips.Slice(chips.topology('v5e:1x2'), [jax.devices()[0]] * 2, False)
  tried = []

  def make(entry, arguments, devices):
    assert len(devices) == 2
    tried.append((arguments['mesh'], arguments['fully_sharded']))
    if tried[-1] == ((2, 1), False):
      raise UserError('does not divide')
    return tried[-1:]

  def fit(program, on):
    mesh, _ = program
    return type(FITS)(**{**vars(FITS), 'fits': mesh in fitting, 'mesh': mesh})

  monkeypatch.setattr(programs, 'programs', make)
  monkeypatch.setattr(report, 'report', fit)
  fitting = [(1, 2)]
  (found,) = configuration.check(entry, on)
  assert found.fits and found.mesh == (1, 2)
  assert tried == [((2, 1), False), ((2, 1), True), ((1, 2), False)]
  # Where none fits, the last one is reported.
  fitting = []
  (found,) = configuration.check(entry, on)
  assert not found.fits and found.mesh == (1, 2)


def test_a_slice_without_a_mesh_is_named(monkeypatch):
  entry = configuration.configure(gin_test.command(*MINI, 'runs/finetune'))
  configuration.bind({'MESH': 'auto'})
  on = chips.Slice(chips.topology('v5e:1x1'), jax.devices()[:1], False)

  def refuse(entry, arguments, devices):
    raise UserError('does not divide')

  monkeypatch.setattr(programs, 'programs', refuse)
  with pytest.raises(UserError, match=r'(?s)no mesh of v5e:1x1 .* not divide'):
    configuration.check(entry, on)
