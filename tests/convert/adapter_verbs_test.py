"""The verbs `export` and `import`: there and back, bit for bit."""

import jax
import numpy as np
import pytest

from moe_lite.checkpoints import exported, runs
from moe_lite.checkpoints.hugging_face.file_names import VOCABULARY
from moe_lite.convert import command
from moe_lite.core import parameters
from moe_lite.process import cli
from tests import tiny_run
from tests.evaluation import outcomes

TRAINING = {'steps': tiny_run.STEP, 'data': 'tiny'}


@pytest.fixture(scope='module')
def paths(tmp_path_factory):
  return tiny_run.write(tmp_path_factory.mktemp('portable'))


@pytest.fixture
def mine(paths, tmp_path):
  folder = tmp_path / 'mine'
  restored = runs.restore_trainable(paths[1])
  exported.save(
    str(folder), *restored, TRAINING, b'pieces', {'inputs_eos': True}
  )
  return folder


def assert_equal(one, other):
  one, other = parameters.flatten(one), parameters.flatten(other)
  assert one.keys() == other.keys()
  for name, leaf in one.items():
    assert leaf.dtype == other[name].dtype
    np.testing.assert_array_equal(leaf, other[name])


def test_a_run_folder_is_made_of_it_again(paths, mine, tmp_path, capsys):
  argv = ['convert', 'import', str(mine), f'--to={tmp_path / "run"}']
  assert cli.guard(command.convert, argv, None) == 0
  trained, description = runs.restore_trainable(str(tmp_path / 'run'))
  assert_equal(trained, runs.restore_trainable(paths[1])[0])
  assert description.step == tiny_run.STEP
  # It is exported again as it came, although it has no configuration.
  again = ['convert', 'export', str(tmp_path / 'run'), f'--to={tmp_path}/x']
  assert cli.guard(command.convert, again, None) == 0
  for name in (exported.CONFIG, exported.WEIGHTS, VOCABULARY):
    assert (tmp_path / 'x' / name).read_bytes() == ((mine / name).read_bytes())
  # Nothing is overwritten, and a run is not such a folder.
  assert cli.guard(command.convert, argv, None) == 2
  assert 'exists already' in capsys.readouterr().err
  argv = ['convert', 'import', paths[1], f'--to={tmp_path / "other"}']
  assert cli.guard(command.convert, argv, None) == 2
  assert 'does not hold adapters that `export` wrote' in capsys.readouterr().err


def test_a_card_has_the_accuracy_of_these_adapters_alone(
  mine, tmp_path, capsys
):
  trained, description = exported.load(str(mine))
  fingerprint = parameters.fingerprint(trained)
  for name, of in (('eval', fingerprint), ('other', 'abc')):
    facts = outcomes.facts(outcomes.MOV, 20, trainable_fingerprint=of)
    outcomes.write(mine / name, outcomes.outcome(checkpoint=facts))
  to = tmp_path / 'export'
  argv = ['convert', 'export', str(mine), f'--to={to}']
  assert cli.guard(command.convert, [*argv, '--license=mit'], None) == 0
  said = capsys.readouterr().err
  assert 'has no accuracy' not in said
  assert 'other/results.json: it is not a complete evaluation' in said
  card = (to / exported.CARD).read_text()
  assert 'license: mit' in card
  assert card.count('The average of the medians is 55.0.') == 1
  # What is made of them with other numbers has not that accuracy.
  _, description = exported.load(str(to))
  trained = jax.tree.map(lambda leaf: leaf + 1, trained)
  exported.save(
    str(tmp_path / 'moved'), trained, description, description.training
  )
  moved = (tmp_path / 'moved' / exported.CARD).read_text()
  assert 'was not measured' in moved
  assert 'license: mit' in moved


def test_a_card_without_a_licence_is_told(mine, tmp_path, capsys):
  argv = ['convert', 'export', str(mine), f'--to={tmp_path / "export"}']
  assert cli.guard(command.convert, argv, None) == 0
  said = capsys.readouterr().err
  assert 'name one with --license' in said and 'has no accuracy' in said
