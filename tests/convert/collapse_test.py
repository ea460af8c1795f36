"""The verb `collapse`: a run with its routers fixed, and accuracies."""

import dataclasses
import json

import numpy as np
import pytest
import seqio

from moe_lite.checkpoints import exported, runs
from moe_lite.checkpoints.peft.folder import read
from moe_lite.convert import collapse, command
from moe_lite.core import parameters
from moe_lite.core.files import check
from moe_lite.evaluation import results
from moe_lite.inference.source import ModelSource
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.process import cli
from moe_lite.t5 import Transformer
from moe_lite.t5.description import (
  from_json,
)
from moe_lite.training import configuration
from tests import tiny_run
from tests.convert import routed_runs


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """A run with the configuration of a command; its base."""
  tiny_run.add_suite()
  return routed_runs.write(tmp_path_factory.mktemp('collapse'))


def call(capsys, *argv):
  code = cli.guard(command.convert, ['x', *argv], None)
  return code, ''.join(capsys.readouterr())


@pytest.mark.slow
def test_the_command_on_a_run(trained, tmp_path, capsys):
  base, run = trained
  capsys.readouterr()
  to = tmp_path / 'plain'
  argv = (
    'collapse',
    run,
    f'--to={to}',
    '--mixture=tiny_task',
    '--examples=8',
    '--evaluate=tiny_score_eval',
  )
  code, printed = call(capsys, *argv)
  assert code == 0, printed
  report = json.loads((to / collapse.REPORT).read_text())
  tree, said = exported.load(str(to))
  description = runs.describe(run)
  routers = {
    path.partition('_adapter/')[0]
    for path in description.tree
    if path.endswith('router/kernel')
  }
  assert report['weights'].keys() == routers
  for p in report['weights'].values():
    np.testing.assert_allclose(sum(p), 1, rtol=1e-5)
  assert said.method.sites.keys() == description.method.sites.keys()
  assert set(said.method.sites.values()) == {'LoRA(rank=6, alpha=48.0)'}
  assert 'tiny_task, train, 8 examples' in said.training['collapsed']
  assert said.training['run'] == run
  # Equal to an evaluation by hand, of the run and of the folder.
  accuracy = report['accuracy']
  for name in ('before', 'after'):
    outcome = json.loads((to / name / results.JSON).read_text())
    assert outcome['average'] == accuracy[name]
    assert outcome['checkpoint']['checkpoint'] == (
      run if name == 'before' else str(to)
    )
  numbers = [f'{accuracy[x]["median"]:.2f}' for x in ('before', 'after')]
  assert f'{numbers[0]} before, {numbers[1]} after' in printed
  assert f'{numbers[1]} (the routed mixture: {numbers[0]})' in (
    (to / exported.CARD).read_text()
  )
  # It serves as a run of plain LoRA, and PEFT has it.
  network = dataclasses.replace(
    configuration.read_config(run)['model'].module.config,
    adapters=from_json(said.method.network).adapters,
  )
  model = EncoderDecoderModel(Transformer(network))
  ModelSource(model, str(to), base).load()
  theirs = tmp_path / 'theirs'
  code, printed = call(capsys, 'export_peft', str(to), f'--to={theirs}')
  assert code == 0 and 'give --base to name one' in printed
  again, _ = read(str(theirs), network)
  for path, leaf in parameters.flatten(tree).items():
    np.testing.assert_array_equal(again[path], leaf)
  code, printed = call(capsys, *argv)
  assert code == 2 and 'exists already' in printed


@pytest.mark.parametrize(
  'flags, says',
  [
    (['--evaluate=tiny_task'], 'tasks without answer choices'),
    (['--by_task'], '--by_task needs --evaluate'),
    (['--mixture=tiny_tusk'], "'tiny_task'"),
    (['--split=test'], "'test'"),
    (['--examples=0'], '--examples'),
    (['--step=99'], 'no checkpoint at step 99'),
  ],
)
def test_mistakes_end_with_code_2(trained, tmp_path, capsys, flags, says):
  code, printed = call(
    capsys, 'collapse', trained[1], f'--to={tmp_path / "x"}', *flags
  )
  assert code == 2 and says in printed
  assert not (tmp_path / 'x').exists()


@pytest.mark.slow
def test_each_task_at_its_own_means(trained, tmp_path, capsys):
  _, run = trained
  to = tmp_path / 'plain'
  code, printed = call(
    capsys,
    *('collapse', run, f'--to={to}', '--mixture=tiny_task', '--examples=8'),
    *('--evaluate=tiny_score_eval', '--by_task'),
  )
  assert code == 0, printed
  report = json.loads((to / collapse.REPORT).read_text())
  tasks = seqio.get_mixture_or_task('tiny_score_eval').tasks
  assert {x.name for x in (to / 'by_task').iterdir()} == {x.name for x in tasks}
  # What is written for a task is its own mean, and what was evaluated.
  values, trees = [], []
  for task in tasks:
    folder = to / 'by_task' / task.name
    trees.append(parameters.flatten(exported.load(str(folder))[0]))
    outcome = json.loads((folder / 'eval' / results.JSON).read_text())
    values += [record['value'] for record in outcome['tasks']]
  path = next(path for path in trees[0] if path.endswith('/b'))
  assert np.abs(trees[0][path] - trees[-1][path]).max() > 0
  average = report['accuracy']['by_task']
  check(str(to), overwrite=True)  # None is a foreign folder.
  datasets = [values[:2], values[2:]]  # Two prompts, and three.
  want = np.mean([np.median(x) for x in datasets])
  assert average['median'] == pytest.approx(want)
  assert f'{want:.2f} with each task at its own means' in printed


def test_a_routed_run_is_not_exported_to_peft(trained, tmp_path, capsys):
  code, printed = call(
    capsys, 'export_peft', trained[1], f'--to={tmp_path / "x"}'
  )
  assert code == 2 and 'convert collapse RUN' in printed
