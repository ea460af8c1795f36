"""Static experts of a routed run, their selector, and their accuracies."""

import json

import numpy as np
import pytest
import seqio

from moe_lite.checkpoints import exported, fixed_routers, library
from moe_lite.checkpoints.peft.folder import read
from moe_lite.convert import command as convert
from moe_lite.core import parameters
from moe_lite.evaluation import results, routing_usage
from moe_lite.evaluation.routed_run import RoutedRun
from moe_lite.library import selecting, selector, static_accuracy
from moe_lite.process import cli
from moe_lite.t5.description import from_json
from tests import tiny_run
from tests.convert import routed_runs
from tests.library.experts import run as call

# What the inputs of a data set look like.
LETTERS = {'pets': 'ab', 'rocks': 'wxyz', 'birds': 'ab', 'stones': 'wxyz'}
TRAINED = ('pets', 'rocks', 'birds')
WANTED = {'pets': 'static_0', 'rocks': 'static_1', 'birds': 'static_0'}


@pytest.fixture(scope='module')
def routed(tmp_path_factory):
  for seed, (name, letters) in enumerate(LETTERS.items()):
    columns = tiny_run.score_columns(seed, num_examples=4)
    rng = np.random.default_rng(seed)
    texts = [''.join(rng.choice(list(letters), 10)) for _ in range(4)]
    columns['inputs'] = [texts[idx] for idx, _ in columns['idx']]
    tiny_run.add_task(f'{name}_score_eval', columns, dataset=name)
  names = [f'{name}_score_eval' for name in TRAINED]
  seqio.MixtureRegistry.add('things_score_eval', names, default_rate=1.0)
  return routed_runs.write(tmp_path_factory.mktemp('routed'))[1]


@pytest.fixture(scope='module')
def selected(routed, tmp_path_factory):
  to = tmp_path_factory.mktemp('selected') / 'library'
  assert call(*argv(routed, to)) == 0
  return str(to)


def argv(run, to, *more, experts=2):
  """The command, on the split that these tasks have."""
  return (
    *('select', run, f'--to={to}', f'--experts={experts}', '--examples=4'),
    *('--mixture=things_score_eval', '--split=validation', *more),
  )


def leaves_of(folder):
  return parameters.flatten(exported.load(str(folder))[0])


def test_data_sets_that_route_alike_share_an_expert(selected, capsys):
  assert selector.read(selected) == WANTED
  index = library.index(selected)
  assert {x: said['serves'] for x, said in index.items()} == {
    'static_0': 'birds, pets',
    'static_1': 'rocks',
  }
  card = f'{library.folder_of(selected, "static_0")}/{exported.CARD}'
  with open(card) as text:
    assert '| serves | birds, pets |' in text.read()
  capsys.readouterr()
  assert call('list', selected) == 0
  assert 'birds, pets' in capsys.readouterr().out


@pytest.mark.slow
def test_an_expert_has_the_routers_fixed_at_the_means_of_its_data_sets(
  routed, selected
):
  routing = routing_usage.measure_run(
    routed, ['pets_score_eval', 'birds_score_eval'], 'validation', 4
  )
  weights = fixed_routers.mean_weights(routing)
  wanted = RoutedRun(routed).fixed(weights, '')
  found = leaves_of(library.folder_of(selected, 'static_0'))
  for path, leaf in parameters.flatten(wanted.leaves).items():
    np.testing.assert_array_equal(found[path], leaf)
  other = leaves_of(library.folder_of(selected, 'static_1'))
  assert any(np.abs(found[x] - other[x]).max() > 1e-3 for x in found)


def test_an_expert_serves_in_peft(selected, tmp_path, capsys):
  folder = library.folder_of(selected, 'static_1')
  to = tmp_path / 'peft'
  code = cli.guard(
    convert.convert, ['x', 'export_peft', folder, f'--to={to}'], None
  )
  assert code == 0, capsys.readouterr().err
  tree, said = exported.load(folder)
  again, _ = read(str(to), from_json(said.network_of(folder)))
  for path, leaf in parameters.flatten(tree).items():
    np.testing.assert_array_equal(again[path], leaf)


def test_which_names_the_folder_of_a_request(selected, capsys):
  capsys.readouterr()
  assert call('which', selected, 'rocks') == 0
  said = capsys.readouterr().out.strip()
  assert said == library.folder_of(selected, 'static_1')
  assert call('which', selected, 'rock') == 2
  assert "Did you mean 'rocks'" in capsys.readouterr().err


@pytest.mark.parametrize(
  'experts, more, message',
  [
    (2, ('--evaluate=tiny_task',), 'tasks without answer choices'),
    (0, (), '--experts'),
  ],
)
def test_mistakes(routed, tmp_path, capsys, experts, more, message):
  to = tmp_path / 'to'
  assert call(*argv(routed, to, *more, experts=experts)) == 2
  assert message in capsys.readouterr().err
  assert not to.exists()


def test_the_number_of_experts_is_needed(routed, tmp_path, capsys):
  assert call('select', routed, f'--to={tmp_path / "to"}') == 2
  assert '--experts=K' in capsys.readouterr().err


@pytest.mark.slow
def test_accuracies_against_the_number_of_experts(routed, tmp_path, capsys):
  to = tmp_path / 'library'
  evaluate = '--evaluate=things_score_eval+stones_score_eval'
  capsys.readouterr()
  assert call(*argv(routed, to, evaluate)) == 0
  printed = ''.join(capsys.readouterr())
  accuracy = json.loads((to / selecting.REPORT).read_text())['accuracy']
  # It looks like rocks, and nobody clustered it.
  assert accuracy['selected'] == {**WANTED, 'stones': 'static_1'}
  assert accuracy['placed_by_inputs'] == ['stones']
  assert 'stones' not in selector.read(str(to))
  outcomes = {
    folder.name: json.loads((folder / results.JSON).read_text())
    for folder in (to / static_accuracy.EVALUATIONS).iterdir()
  }
  assert accuracy['routed'] == outcomes['routed']['average']
  assert accuracy['experts']['1'] == outcomes['one']['average']
  # Every task counts once, under the expert of its data set.
  found = {
    x['dataset']: (x['value'], expert)
    for expert in ('static_0', 'static_1')
    for x in outcomes[expert]['tasks']
  }
  assert {x: expert for x, (_, expert) in found.items()} == (
    accuracy['selected']
  )
  mean = np.mean([value for value, _ in found.values()])
  assert accuracy['experts']['2']['median'] == pytest.approx(mean)
  table = (to / selecting.TABLE).read_text()
  assert table.strip() in printed
  header, _, *rows = table.splitlines()
  assert 'routed' in header and 'K = 1' in header and 'K = 2' in header
  assert len(rows) == 5 and f'{mean:.2f}' in rows[-1]
  # One expert for all is what the run collapses to.
  collapsed = tmp_path / 'collapsed'
  code = cli.guard(
    convert.convert,
    [
      *('x', 'collapse', routed, f'--to={collapsed}', '--examples=4'),
      *('--mixture=things_score_eval', '--split=validation'),
    ],
    None,
  )
  assert code == 0
  one, other = leaves_of(to / static_accuracy.ONE), leaves_of(collapsed)
  for path, leaf in other.items():
    np.testing.assert_array_equal(one[path], leaf)
