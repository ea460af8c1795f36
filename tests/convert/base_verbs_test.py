"""The verbs that write bases: once, and of what holds a base."""

import ml_dtypes
import numpy as np

from moe_lite.checkpoints.hugging_face import config as configs
from moe_lite.checkpoints.hugging_face import model as hugging_face
from moe_lite.checkpoints.run_checkpoints import Checkpoints
from moe_lite.convert import command
from moe_lite.core import parameters
from moe_lite.process import cli
from tests import tiny


def assert_same(found, expected):
  assert found.keys() == expected.keys()
  for name, leaf in expected.items():
    assert found[name].dtype == leaf.dtype, name
    np.testing.assert_array_equal(found[name], leaf, err_msg=name)


def exported(source, folder, *flags):
  argv = ['x', 'export_hf', str(source), f'--to={folder}', *flags]
  return cli.guard(command.convert, argv, None)


def test_a_base_is_exported_once(tmp_path, capsys):
  source = tiny.save_base(tmp_path / 'base')
  out = tmp_path / 'out'
  assert exported(source, out, '--step=3') == 2
  assert '--step is of a run' in capsys.readouterr().err
  assert exported(source, out) == 0
  assert configs.network(out) == tiny.model({}).module.config
  assert_same(hugging_face.read(out), parameters.flatten(tiny.base_params()))
  assert exported(source, out) == 2
  assert 'exists already' in capsys.readouterr().err
  assert exported(source, tmp_path / 'low', '--dtype=bfloat16') == 0
  low = hugging_face.read(tmp_path / 'low').values()
  assert all(leaf.dtype == ml_dtypes.bfloat16 for leaf in low)


def test_a_run_is_exported_if_it_trained_everything(tmp_path, capsys):
  for name, params in {
    'full': tiny.base_params(),
    'adapters': {'layers_0': {'key_adapter': {'scale': np.ones(3)}}},
  }.items():
    checkpoints = Checkpoints(str(tmp_path / name))
    checkpoints.save(1, params, {'step': np.int32(1)}, {}, tiny.DESCRIPTION)
    checkpoints.close()
  assert exported(tmp_path / 'full', tmp_path / 'out') == 0
  expected = parameters.flatten(tiny.base_params())
  assert_same(hugging_face.read(tmp_path / 'out'), expected)
  assert exported(tmp_path / 'adapters', tmp_path / 'no') == 2
  assert 'adapters only' in capsys.readouterr().err
  assert not (tmp_path / 'no').exists()
