"""The table of forms: which one lies at a path, and where nothing does."""

import numpy as np
import pytest

from moe_lite import adapters
from moe_lite.checkpoints import exported, formats, library, runs
from moe_lite.checkpoints.base_folder import WEIGHTS
from moe_lite.checkpoints.description import BaseInfo, Description
from moe_lite.checkpoints.peft.folder import write
from moe_lite.checkpoints.t5x import native
from moe_lite.core import json_files, parameters
from moe_lite.core.errors import UserError
from moe_lite.t5.description import describe_run
from tests import tiny_run
from tests.checkpoints.hugging_face import written_files
from tests.checkpoints.peft.drawing import draw, network


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """One thing of every form."""
  folder = tmp_path_factory.mktemp('formats')
  _, run = tiny_run.write(folder)
  exported.save(str(folder / 'exported'), *runs.restore_trainable(run), {})
  trained = parameters.flatten(runs.restore_trainable(run)[0])
  native.write(str(folder / 't5x'), trained, 5)
  written_files.write(folder / 'theirs', written_files.state('1.1'))
  ia3 = network({'key': adapters.IA3})
  write(str(folder / 'peft'), draw(ia3), ia3)
  (folder / 'library').mkdir()
  where = folder / 'library' / library.INDEX
  json_files.write(where, library.index_of({'a': {}}))
  return folder


@pytest.mark.parametrize(
  'name, says',
  [
    ('t5x', 'T5X checkpoint'),
    ('exported', 'exported adapters'),
    ('peft', "adapters of PEFT's"),
    ('theirs', "model of Hugging Face's"),
    ('base', 'base'),
    ('run', 'run'),
    ('library', 'a library of experts'),
    (f'base/{WEIGHTS}', 'file of a base'),
  ],
)
def test_every_form_is_found(folder, name, says):
  found = formats.find(str(folder / name))
  assert found is not None and found.name == says
  assert found.has_steps == (name == 'run')
  assert len({form.name for form in formats.TABLE}) == 8


@pytest.mark.parametrize('name', ['exported', 'peft', 'nothing'])
def test_what_is_not_a_base_is_named_as_it_was_given(folder, name):
  path = str(folder / name)
  with pytest.raises(UserError, match="'given': there is no base. Give a saf"):
    formats.find_base(path, 'given')


def test_bases_that_ship_have_names(tmp_path, monkeypatch):
  assert 'mini' in formats.shipped()
  shipped = formats.find(formats.local('mini'))
  assert shipped is not None and shipped.name == 'base'
  # A folder of that name that is there comes first.
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'mini').mkdir()
  assert formats.local('mini') == 'mini'


@pytest.mark.parametrize('name', ['run', 'exported', 't5x'])
def test_what_was_trained_is_read_in_any_form(folder, name):
  wanted, description = runs.restore_trainable(str(folder / 'run'))
  method = describe_run(
    tiny_run.model().module.config, parameters.TRAINABLE_ADAPTERS
  )
  assumed = Description(method, BaseInfo('assumed', 'unknown'))
  tree, said = formats.read_trained(str(folder / name), None, assumed)
  wanted, found = parameters.flatten(wanted), parameters.flatten(tree)
  assert found.keys() == wanted.keys()
  for path, leaf in wanted.items():
    np.testing.assert_array_equal(found[path], leaf)
  assert said.method == method
  is_t5x = name == 't5x'
  assert said.base == (assumed.base if is_t5x else description.base)
  assert said.step == (5 if is_t5x else tiny_run.STEP)


@pytest.mark.parametrize('name', ['t5x', 'peft', 'theirs', 'base', 'nothing'])
def test_what_was_not_trained_by_a_run_is_refused(folder, name):
  with pytest.raises(UserError, match='is not a run folder'):
    formats.read_trained(str(folder / name))
