"""Where a model comes from: what is loaded, and what is refused."""

import dataclasses
import functools
import inspect

import numpy as np
import pytest

from moe_lite import adapters, routing
from moe_lite.checkpoints.base_folder import save_base
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.evaluation import loop
from moe_lite.inference import predictions
from moe_lite.inference.source import BASE, ModelSource
from tests import tiny_run


@pytest.fixture(scope='module')
def source(tmp_path_factory):
  base, run = tiny_run.write(tmp_path_factory.mktemp('source'))
  return ModelSource(tiny_run.model(), run, base, base_dtype='float32')


@pytest.mark.parametrize('function', [loop.evaluate, predictions.infer])
def test_what_gin_configures_has_its_fields_as_arguments(function):
  arguments = inspect.signature(function).parameters
  for field in dataclasses.fields(ModelSource):
    default = arguments[field.name].default
    if field.default is dataclasses.MISSING:
      assert default is inspect.Parameter.empty
    else:
      assert default == field.default


def test_a_run_is_merged_with_its_base(source):
  trained = source.load()
  found = parameters.flatten(trained.params)
  for path, leaf in parameters.flatten(tiny_run.draw()).items():
    np.testing.assert_array_equal(found[path], leaf)
  facts = trained.facts
  assert facts.checkpoint == source.checkpoint_path
  assert facts.step == tiny_run.STEP
  assert facts.base.source == source.initial_checkpoint_path
  assert list(facts.method) == ['key']
  assert facts.trainable_parameters > 0 and facts.trainable_fingerprint


def test_the_base_alone_has_no_adapters(source):
  alone = dataclasses.replace(source, checkpoint_path=BASE).load()
  assert not alone.model.module.config.adapters
  assert not any(map(parameters.is_adapter, parameters.flatten(alone.params)))
  assert alone.facts.step is None and alone.facts.method == {}
  assert alone.facts.trainable_parameters == 0
  assert alone.facts.trainable_fingerprint is None
  assert alone.facts.base == source.load().facts.base


def test_a_base_is_loaded_without_what_decides_for_its_routers(source):
  shared = functools.partial(adapters.MoV, router=routing.SharedRouter)
  model = tiny_run.model(
    adapters={'key': shared}, decisions={'layer': routing.Decision}
  )
  alone = dataclasses.replace(source, model=model, checkpoint_path=BASE).load()
  assert not alone.model.module.config.decisions


def test_another_base_is_refused(source, tmp_path):
  _, frozen = parameters.split(tiny_run.draw(1), parameters.TRAINABLE_ADAPTERS)
  base = str(tmp_path / 'base')
  save_base(base, frozen, {})
  with pytest.raises(UserError, match='stands on another base'):
    dataclasses.replace(source, initial_checkpoint_path=base).load()


def test_the_mesh_may_be_chosen(source):
  trained = dataclasses.replace(source, mesh='auto').load()
  assert dict(trained.mesh.shape) == {'data': 1, 'model': 1}


def test_a_run_is_found_by_its_own_configuration(source):
  configured = {
    'model': source.model,
    'initial_checkpoint_path': source.initial_checkpoint_path,
    'trainable': source.trainable,
    'base_dtype': 'float32',
    'optimizer': None,
  }
  found = ModelSource.of_run(source.checkpoint_path, configured)
  assert found == source
  more = {**configured, 'mesh': (1, 1), 'fully_sharded': True}
  found = ModelSource.of_run(source.checkpoint_path, more, step=3)
  assert (found.mesh, found.fully_sharded, found.step) == ((1, 1), True, 3)
