"""What tells whether a leaf is what was written, and whether it is finite."""

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from moe_lite.core import integrity
from moe_lite.core.errors import Damaged

TYPES = ('float32', 'bfloat16', 'float16', 'int32', 'uint32', 'int8', 'bool')


@pytest.mark.parametrize('dtype', TYPES)
def test_each_bit_and_each_place_counts(dtype):
  leaf = np.random.default_rng(0).integers(0, 2, (5, 7)).astype(dtype)
  sums = {integrity.checksums({'x': leaf})['x']}
  flat = leaf.reshape(-1).view(np.uint8)
  for place in range(leaf.nbytes):
    for bit in range(8 if dtype != 'bool' else 1):
      flat[place] ^= 1 << bit
      sums.add(integrity.checksums({'x': leaf})['x'])
      flat[place] ^= 1 << bit
  assert len(sums) == 1 + leaf.nbytes * (8 if dtype != 'bool' else 1)
  # Equal numbers at other places.
  swapped = leaf.copy()
  swapped[0, 0], swapped[4, 6] = 1, 0
  leaf[0, 0], leaf[4, 6] = 0, 1
  assert integrity.checksums({'x': leaf}) != integrity.checksums({'x': swapped})


def test_host_and_device_agree():
  leaf = np.random.default_rng(0).normal(size=(3, 4)).astype('f4')
  on_device = integrity.checksums({'a': {'b': jnp.asarray(leaf)}})
  assert on_device == integrity.checksums({'a': {'b': leaf}})
  assert on_device.keys() == {'a/b'}


def test_what_was_saved_is_compared_by_name():
  integrity.check_same('here', {'a': '1'}, {'a': '1'})
  for found in (
    {'a': '2', 'b': '1'},
    {'b': '1'},
    {'a': '1', 'b': '1', 'c': ''},
  ):
    with pytest.raises(Damaged, match='here is damaged: [ac] has other values'):
      integrity.check_same('here', {'a': '1', 'b': '1'}, found)


@pytest.mark.parametrize('dtype', ['f4', 'f8', 'f2', ml_dtypes.bfloat16])
def test_bits_tell_what_is_finite(dtype):
  info = ml_dtypes.finfo(dtype)
  finite = [0.0, -0.0, 1.5, -2.0, info.max, info.min, info.tiny]
  assert integrity.is_finite(np.array(finite, dtype))
  for bad in (np.nan, -np.nan, np.inf, -np.inf):
    leaf = np.array([*finite, bad, *finite], dtype)
    assert not integrity.is_finite(leaf)
    assert not integrity.is_finite(leaf[::-1])
  assert integrity.is_finite(np.zeros((0, 3), dtype))
  assert integrity.is_finite(np.array([2**31 - 1], np.int32))


def test_nan_is_refused_by_leaf_or_said(capsys):
  leaf = np.array([1, np.nan, np.inf], 'f4')
  with pytest.raises(Damaged, match='base: 2 of 3 numbers of a/b are NaN'):
    integrity.check_finite('base', 'a/b', leaf)
  with integrity.allowing_nonfinite():
    integrity.check_finite('base', 'a/b', leaf)
  assert '2 of 3 numbers of a/b' in capsys.readouterr().err
  with pytest.raises(Damaged):
    integrity.check_finite('base', 'a/b', leaf)


def test_a_seal_sees_any_change():
  said = {'step': 3, 'tree': {'a': ((2, 3), 'float32')}, 'text': None}
  sealed = integrity.seal(said)
  assert integrity.unseal(sealed, 'file') == said
  assert integrity.unseal(said, 'file') == said
  with pytest.raises(Damaged, match='file was changed .* remove its entry'):
    integrity.unseal({**sealed, 'step': 4}, 'file')
  with pytest.raises(Damaged, match='holds list data'):
    integrity.unseal([1], 'file')
