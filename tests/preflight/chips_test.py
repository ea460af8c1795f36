"""Names of slices, and what is said of those that there are not."""

import pytest

from moe_lite.core.errors import UserError
from moe_lite.preflight import chips


@pytest.mark.parametrize(
  'name, count, accelerator',
  [
    ('v5e:1x1', 1, 'v5litepod-1'),
    ('v5e:4x4', 16, 'v5litepod-16'),
    ('v4:2x2x4', 16, 'v4-32'),
    ('v5p:2x2x1', 4, 'v5p-8'),
    ('v6e:2x4', 8, 'v6e-8'),
  ],
)
def test_a_slice_by_name(name, count, accelerator):
  topology = chips.topology(name)
  assert topology.chips == count
  assert topology.accelerator_type == accelerator


@pytest.mark.parametrize('name', ['v5e', 'v5e:9', 'v7:2x2', '4x4', 'v5e:axb'])
def test_an_unknown_slice_lists_the_known_ones(name):
  with pytest.raises(UserError, match=r'Known are v4:\{2x2x1.*v5e:\{1x1,2x2'):
    chips.topology(name)


def test_dimensions_are_those_of_the_kind():
  with pytest.raises(UserError, match='v4 slices have 3 positive dimensions'):
    chips.topology('v4:2x2')
  with pytest.raises(UserError, match='v5e slices have 2'):
    chips.topology('v5e:2x2x2')


def test_without_the_compiler_there_are_fake_devices(monkeypatch):
  monkeypatch.setattr(chips, 'has_compiler', lambda: False)
  environment = {'XLA_FLAGS': '--xla_dump_to=x'}
  chips.prepare(environment, 16)
  assert environment['XLA_FLAGS'] == (
    '--xla_dump_to=x --xla_force_host_platform_device_count=16'
  )
  assert environment['JAX_PLATFORMS'] == 'cpu'


def test_without_the_compiler_a_slice_has_devices_of_the_cpu(monkeypatch):
  monkeypatch.setattr(chips, 'has_compiler', lambda: False)
  on = chips.Slice.of(chips.topology('v5e:1x1'))
  assert not on.is_real and on.topology.name == 'v5e:1x1'
  assert [device.platform for device in on.devices] == ['cpu']
