"""A base's parameters, filled a layer at a time, equal those made at once."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from moe_lite.checkpoints import lazy_arrays, uploading
from moe_lite.core import parameters, quantization
from tests import tiny
from tests.paths import ROOT


def wanted(scan_layers, dtype):
  model = tiny.model({}, scan_layers=scan_layers)
  shapes = parameters.flatten(model.abstract_variables()['params'])
  return parameters.unflatten(
    quantization.abstract(shapes, dict.fromkeys(shapes, dtype))
  )


@pytest.mark.parametrize('dtype', quantization.BASE_DTYPES)
@pytest.mark.parametrize('scan_layers', [False, True], ids=['loop', 'scan'])
@pytest.mark.parametrize('source', [False, True], ids=['of loop', 'of scan'])
def test_whatever_the_forms(dtype, scan_layers, source):
  placement = uploading.Placement(wanted(scan_layers, dtype))
  arrays = {
    path: lazy_arrays.held(np.asarray(leaf))
    for path, leaf in parameters.flatten(
      parameters.like_network(tiny.base_params(), source)
    ).items()
  }
  for path, leaf in lazy_arrays.read_layers(arrays, reversed(arrays)):
    placement.fill(path, leaf)
  whole = parameters.like_network(tiny.base_params(), scan_layers)
  expected = {
    path: quantization.hold(path, jax.numpy.asarray(leaf), dtype)
    for path, leaf in parameters.flatten(whole).items()
  }
  found = parameters.flatten(placement.tree())
  assert found.keys() == expected.keys()
  for path, leaf in expected.items():
    jax.tree.map(np.testing.assert_array_equal, found[path], leaf)


@pytest.mark.slow
def test_the_host_holds_little_beyond_the_shards(tmp_path):
  done = subprocess.run(
    [sys.executable, '-m', 'tests.benchmarks.load_base', tmp_path]
    + ['--size=base'],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  lines = [json.loads(line) for line in done.stdout.splitlines()]
  assert len(lines) == 4
  for line in lines:
    assert line['beyond_shards_in_largest_leaves'] < 1.3, line
