"""What is said of a program, for people and for programs."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from moe_lite.preflight import chips, report
from moe_lite.preflight.program import Program
from moe_lite.preflight.report import Report

FITS = Report(
  program='train step',
  topology='v5e:2x2',
  accelerator_type='v5litepod-4',
  chips=4,
  mesh=(4, 1),
  rows=8,
  tokens=80,
  fits=True,
  hbm=16 * 2**30,
  bytes={'base': 2**30, 'activations': None, 'total': 2**31},
  flops=3 * 10**12,
  least_flops=2 * 10**12,
  bytes_moved=5 * 10**9,
  collectives={'all-reduce': (3, 2_000_000)},
  least_seconds=0.5,
)


def test_costs_follow_from_the_least_time():
  assert FITS.tokens_per_second == 160
  assert FITS.chip_seconds == 4 * 0.5 / 8
  unknown = dataclasses.replace(FITS, least_seconds=None)
  assert unknown.tokens_per_second is None and unknown.chip_seconds is None


def test_people_read_lines():
  text = report.as_text(dataclasses.replace(FITS, settings={'REMAT': 'full'}))
  assert text.startswith(
    'train step on v5e:2x2 (v5litepod-4), 4 chips, mesh (data, model) = (4, 1),'
  )
  assert 'with --gin.REMAT="\'full\'"' in text
  assert 'activations' not in text
  assert '2.000 GiB of 16.00: fits' in text
  assert '3.000 TFLOP, 1.500 x the least (2.000)' in text
  assert 'all-reduce          3 times, 2.000 MB a chip' in text
  assert '500.00 ms, at most 160 tokens/s' in text
  text = report.as_text(
    dataclasses.replace(FITS, fits=False, problem='too large')
  )
  assert 'DOES NOT FIT: too large' in text


def test_programs_read_all_of_it():
  found = report.as_json(FITS)
  assert found['flops_over_least'] == 1.5 and found['tokens_per_second'] == 160
  assert found['jax'] == jax.__version__
  fields = {field.name for field in dataclasses.fields(Report)}
  assert fields <= found.keys()


def square(rows, columns):
  """A program that squares a matrix, for one device of the CPU."""
  place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  shape = jax.ShapeDtypeStruct((rows, columns), jnp.float32, sharding=place)
  function = lambda x: x @ x.T
  return Program(
    name='square',
    function=function,
    arguments=(shape,),
    compile=lambda: jax.jit(function).lower(shape).compile(),
    parts={'batch': shape},
    least_flops=2 * rows * rows * columns,
    rows=rows,
    tokens=rows,
    mesh=(1, 1),
  )


@pytest.fixture
def on():
  return chips.Slice(chips.topology('v5e:1x1'), jax.devices()[:1], False)


def test_a_program_is_compiled_and_read(on):
  found = report.report(square(8, 16), on)
  assert found.fits and found.topology == 'v5e:1x1' and found.chips == 1
  assert found.flops == found.least_flops == 2 * 8 * 8 * 16
  assert found.bytes == {'batch': 8 * 16 * 4, 'total': 8 * 16 * 4}
  assert found.collectives == {}
  assert found.least_seconds == pytest.approx(found.flops / 197e12)
  # The devices of the CPU say nothing of these.
  assert found.bytes_moved is None


def test_what_does_not_fit_is_not_compiled(on):
  program = dataclasses.replace(square(2**18, 2**16), compile=None)
  found = report.report(program, on)
  assert not found.fits and 'parameters and batch alone' in found.problem
  assert found.bytes['total'] == 2**36
