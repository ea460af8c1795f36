"""What a sweep tries, in which order, and which it takes."""

import gin
import jax
import pytest

from moe_lite.core.errors import UserError
from moe_lite.preflight import cheapest, chips, configuration
from tests import gin_test
from tests.preflight.report_test import FITS

MINI = ('models/t5_1_1_mini', 'methods/mov', 'data/mini', 'runs/finetune')


@pytest.fixture(autouse=True)
def entry():
  gin.clear_config()
  entry = configuration.configure(gin_test.command(*MINI))
  configuration.bind({'BATCH_SIZE': 8})
  yield entry
  gin.clear_config()


@pytest.fixture
def on():
  device = jax.devices()[0]
  return chips.Slice(chips.topology('v5e:1x2'), [device] * 2, False)


@pytest.fixture
def tried(monkeypatch):
  """The settings that are tried; `answer` says what is reported for each."""
  names = ('MESH', 'FULLY_SHARDED', 'REMAT', 'MICROBATCHES', 'BATCH_SIZE')

  class Tried(list):
    answer = None

  found = Tried()

  def check(entry, on):
    found.append({name: gin.query_parameter(f'%{name}') for name in names})
    return [found.answer(found[-1])]

  monkeypatch.setattr(configuration, 'check', check)
  return found


def report(fits=True, seconds=1.0, rows=8, base=0):
  return type(FITS)(
    **{
      **vars(FITS),
      'fits': fits,
      'least_seconds': seconds,
      'rows': rows,
      'bytes': {'base': base, 'total': base},
    }
  )


def test_the_first_setting_that_fits_on_each_mesh_is_taken(entry, on, tried):
  def answer(x):
    fits = x['REMAT'] == 'minimal' and x['MICROBATCHES'] >= 2
    return report(fits, 2.0 if x['FULLY_SHARDED'] else 3.0)

  tried.answer = answer
  (best,) = cheapest.sweep(entry, on)
  assert best.settings == {
    'MESH': (2, 1),
    'FULLY_SHARDED': True,
    'REMAT': 'minimal',
    'MICROBATCHES': 2,
  }
  meshes = [(x['MESH'], x['FULLY_SHARDED']) for x in tried]
  assert list(dict.fromkeys(meshes)) == [
    ((2, 1), False),
    ((2, 1), True),
    ((1, 2), False),
  ]
  on_the_first = [
    (x['REMAT'], x['MICROBATCHES'])
    for x in tried
    if (x['MESH'], x['FULLY_SHARDED']) == ((2, 1), False)
  ]
  assert on_the_first == [
    ('none', 1),
    ('none', 2),
    ('none', 4),
    ('minimal', 1),
    ('minimal', 2),
  ]


def test_values_of_macros_are_tried_as_well(entry, on, tried):
  tried.answer = lambda x: report(seconds=1.0, rows=x['BATCH_SIZE'])
  (best,) = cheapest.sweep(entry, on, ['BATCH_SIZE=4,16'])
  assert best.settings['BATCH_SIZE'] == 16
  assert {x['BATCH_SIZE'] for x in tried} == {4, 16}


def test_no_setting_helps_where_parameters_alone_are_too_large(
  entry, on, tried
):
  tried.answer = lambda x: report(fits=False, base=2**40)
  (last,) = cheapest.sweep(entry, on)
  assert not last.fits
  assert len(tried) == 3  # Once on each mesh.


def test_a_mesh_that_cannot_be_is_passed_over(entry, on, tried):
  def answer(x):
    if x['MESH'] == (2, 1):
      raise UserError('cannot be')
    return report()

  tried.answer = answer
  (best,) = cheapest.sweep(entry, on)
  assert best.settings['MESH'] == (1, 2)

  def never(x):
    raise UserError('cannot be')

  tried.answer = never
  with pytest.raises(UserError, match='cannot be'):
    cheapest.sweep(entry, on)


@pytest.mark.parametrize('grid', ['BATCH_SIZE', 'BATCH_SIZE=', 'BATCH_SIZE=a'])
def test_a_grid_that_cannot_be_read_is_refused(entry, on, grid):
  with pytest.raises(UserError, match=f'--grid={grid}: give MACRO=VALUE'):
    cheapest.sweep(entry, on, [grid])
