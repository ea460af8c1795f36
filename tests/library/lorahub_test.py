"""A few examples choose the weights of experts."""

import functools
import sys

import numpy as np
import pytest

from moe_lite import adapters
from moe_lite.checkpoints import exported, library
from moe_lite.checkpoints.description import BaseInfo, Description
from moe_lite.core import parameters
from moe_lite.evaluation.validation import Validation
from moe_lite.inference.source import ModelSource
from moe_lite.library import lorahub
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.t5 import Transformer
from moe_lite.t5.description import describe_run, from_json
from tests import tiny, tiny_run
from tests.library.experts import run

LORA = {
  site: functools.partial(adapters.LoRA, rank=2, alpha=3.0)
  for site in ('query', 'wo')
}
KINDS = {'lora': LORA, 'ia3': {'key': adapters.IA3}}
NAMES = ('apples', 'boats')


@pytest.fixture
def nevergrad():
  return pytest.importorskip('nevergrad', reason='the extra library')


def write(folder, sites):
  """Writes a base that reads bytes, and a library of random experts on it."""
  base = tiny.save_base(folder / 'base')
  info = BaseInfo(base, parameters.fingerprint(tiny.base_params()))
  model = tiny.model(sites)
  shapes = parameters.flatten(
    parameters.adapters_of(model.abstract_variables()['params'])
  )
  for seed, name in enumerate(NAMES):
    rng = np.random.default_rng(seed)
    leaves = {
      path: (path.endswith('scale') + rng.normal(0, 0.3, x.shape)).astype(
        np.float32
      )
      for path, x in shapes.items()
    }
    exported.save(
      str(folder / name),
      parameters.unflatten(leaves),
      Description(
        describe_run(model.module.config, parameters.TRAINABLE_ADAPTERS), info
      ),
      {},
      text={'inputs_eos': False, 'bytes': True},
    )
    assert run('add', folder / 'library', name, folder / name) == 0
  return base, str(folder / 'library')


def test_both_factors_are_weighted():
  rng = np.random.default_rng(0)
  leaves = {
    'key_adapter/scale': rng.normal(1, 1, (2, 3)).astype(np.float32),
    'wo_adapter/a': rng.normal(0, 1, (2, 4, 2)).astype(np.float32),
    'wo_adapter/b': rng.normal(0, 1, (2, 2, 3)).astype(np.float32),
  }
  w = np.array([0.5, -1.25])
  found = lorahub.compose(leaves, w)
  for name in ('wo_adapter/a', 'wo_adapter/b'):
    first, second = leaves[name]
    np.testing.assert_allclose(
      found[name], 0.5 * first - 1.25 * second, rtol=1e-5
    )
  first, second = leaves['key_adapter/scale'] - 1
  np.testing.assert_allclose(
    found['key_adapter/scale'], 1 + 0.5 * first - 1.25 * second, rtol=1e-5
  )
  for leaf in lorahub.compose(leaves, np.zeros(2)).values():
    assert np.unique(leaf).tolist() in ([0.0], [1.0])


@pytest.mark.usefixtures('nevergrad')
@pytest.mark.parametrize('kind', KINDS)
def test_the_command(kind, tmp_path, capsys, monkeypatch):
  tiny_run.add_suite()
  traced = []
  encode = EncoderDecoderModel.encode
  monkeypatch.setattr(
    EncoderDecoderModel,
    'encode',
    lambda *args: traced.append(1) or encode(*args),
  )
  base, path = write(tmp_path, KINDS[kind])
  to, again = tmp_path / 'to', tmp_path / 'again'
  argv = (
    *('merge', path, '--method=lorahub', '--mixture=tiny_pair_0_score_eval'),
    *('--split=validation', '--examples=4', '--budget=12'),
  )
  capsys.readouterr()
  assert run(*argv, f'--to={to}') == 0, capsys.readouterr().err
  assert len(traced) <= 2  # For each shape once, and not for each weight.
  tree, said = exported.load(str(to))
  told = said.training['merged']
  weights = np.array([told['weights'][name] for name in NAMES])
  assert np.abs(weights).max() <= 1.5 and np.any(weights)
  assert told['loss'] < told['loss without experts']
  # The leaves are those of the card's weights.
  mixture = parameters.flatten(library.read(path)[0])
  wanted = lorahub.compose(
    {x: y for x, y in mixture.items() if '/router/' not in x}, weights
  )
  found = parameters.flatten(tree)
  assert found.keys() == wanted.keys()
  for name, leaf in wanted.items():
    np.testing.assert_array_equal(found[name], leaf)
  # The loss is that of what was written, measured by itself.
  config = from_json(said.network_of(str(to)))
  model = EncoderDecoderModel(Transformer(config))
  trained = ModelSource(model, str(to), base, base_dtype='float32').load()
  measure = Validation('tiny_pair_0_score_eval', examples=4).prepare(
    model, {'inputs': 64, 'targets': 16}, None
  )(trained.mesh)
  loss = measure(trained.params)['loss']
  np.testing.assert_allclose(loss, told['loss'], rtol=1e-4)
  if kind == 'ia3':
    return
  assert run(*argv, f'--to={again}') == 0  # One seed, one answer.
  for name, leaf in parameters.flatten(exported.load(str(again))[0]).items():
    np.testing.assert_array_equal(found[name], leaf)


@pytest.mark.parametrize(
  'flags, message',
  [
    (['--method=lorahub'], 'needs --mixture'),
    (['--method=lorahub', '--mixture=x', '--rank=2'], 'Leave out --rank'),
    (['--mixture=x', '--budget=3'], 'Leave out --mixture, --budget'),
  ],
)
def test_flags_of_another_method_are_refused(tmp_path, capsys, flags, message):
  to = tmp_path / 'to'
  assert run('merge', tmp_path, f'--to={to}', *flags) == 2
  assert message in capsys.readouterr().err
  assert not to.exists()


def test_without_nevergrad_the_extra_is_named(tmp_path, capsys, monkeypatch):
  monkeypatch.setitem(sys.modules, 'nevergrad', None)
  flags = ('--method=lorahub', '--mixture=tiny_score_eval')
  tiny_run.add_suite()
  assert run('merge', tmp_path, f'--to={tmp_path}/to', *flags) == 2
  assert "pip install 'moe_lite[library]'" in capsys.readouterr().err
