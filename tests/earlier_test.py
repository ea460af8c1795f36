"""What an earlier version wrote is read, resumed, evaluated and exported.

`tests/earlier` has the files; its README says how they came about. Numbers are
equal up to what another processor's rounding may change.
"""

import filecmp
import json
import shutil

import gin
import numpy as np
import pytest

import moe_lite
from moe_lite.checkpoints import inspection
from moe_lite.convert import command
from moe_lite.evaluation import report
from moe_lite.process import cli
from moe_lite.t5.description import to_json
from moe_lite.training import configuration
from tests.paths import ROOT

EARLIER = ROOT / 'tests' / 'earlier'
# Of metrics, those that depend on the numbers alone, and on no clock.
EQUAL = ('loss', 'z_loss', 'accuracy', 'grad_norm', 'update_norm')
ROUTED = ('routing_entropy', 'routing_largest_share', 'routing_from_uniform')


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
  """A copy of the run that may be changed, as `run` of the working folder."""
  shutil.copytree(EARLIER / 'run', tmp_path / 'run')
  monkeypatch.chdir(tmp_path)
  yield tmp_path
  gin.clear_config()


def lines(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_a_run_goes_on_by_its_own_configuration(own_folder, capsys):
  argv = ['train', '--gin_file=run/config.gin', '--gin.TRAIN_STEPS=10']
  assert cli.main('training.train', 'runs/finetune.gin', argv) == 0
  assert 'resumed at step 6' in capsys.readouterr().err
  found = lines(own_folder / 'run' / 'metrics.jsonl')
  assert [line['step'] for line in found] == [2, 4, 6, 8, 10]
  for now, before in zip(
    found[3:], lines(EARLIER / 'resumed.jsonl'), strict=True
  ):
    for name in (*EQUAL, *ROUTED):
      assert now[name] == pytest.approx(before[name], rel=1e-4, abs=1e-5), name


def test_a_run_is_evaluated_by_its_own_configuration(own_folder):
  argv = [
    'eval',
    '--gin_file=run/config.gin',
    '--gin_file=data/mini_eval.gin',
    '--gin_file=runs/eval.gin',
    "--gin.CHECKPOINT_PATH='run'",
    "--gin.EVAL_OUTPUT_DIR='eval'",
    "--gin.MIXTURE_OR_TASK_NAME='mini_who_owner_score_eval'",
  ]
  assert cli.main('evaluation.evaluate', 'runs/eval.gin', argv) == 0
  now, before = (
    json.loads((folder / 'eval' / 'results.json').read_text())
    for folder in (own_folder, EARLIER)
  )
  assert now['checkpoint'] == before['checkpoint']
  for new, old in ((now, before), (now['tasks'][0], before['tasks'][0])):
    assert [name for name in new if name in old] == list(old)
  assert now['average']['median'] == pytest.approx(
    before['average']['median'], abs=0.3
  )


def test_its_results_are_reported(capsys):
  assert report.main(['report', str(EARLIER / 'eval')]) == 0
  assert '54.9' in capsys.readouterr().out


def test_its_configuration_is_read():
  named = configuration.read_config('run', ['run/config.gin'])
  assert named['train_steps'] == 6
  said = configuration.read_config('run')
  for bound in (named, said):
    assert bound['dataset'].mixture_or_task_name == 'mini_kinds_choose'
    assert bound['initial_checkpoint_path'] == 'mini'
  one, other = (x['model'].module.config for x in (said, named))
  assert to_json(one) == to_json(other) and one.dtype == other.dtype


def test_a_run_is_exported_as_it_was(own_folder):
  assert command.main(['convert', 'export', 'run', '--to=exported']) == 0
  now, before = own_folder / 'exported', EARLIER / 'exported'
  name = 'adapter_model.safetensors'
  assert filecmp.cmp(now / name, before / name, False)
  said, says = (
    json.loads((folder / 'adapter_config.json').read_text())
    for folder in (now, before)
  )
  assert said.pop('hashes').keys() == said['tree'].keys() and said.pop('seal')
  # People are told more of the training than before.
  assert said.pop('training').items() >= says.pop('training').items()
  assert said == says


def test_both_are_inspected():
  leaves = [
    inspection.inspect(str(EARLIER / name)).leaves
    for name in ('run', 'exported')
  ]
  assert leaves[0] == leaves[1] and len(leaves[0]) == 32


@pytest.mark.parametrize('name', ['run', 'exported'])
def test_they_load_in_a_notebook(name):
  before = json.loads((EARLIER / 'text_model.json').read_text())
  model = moe_lite.load('mini', adapters=EARLIER / name)
  scores = model.score(
    'Is a robin a bird? Yes or no?', ['yes', 'no', 'a robin']
  )
  np.testing.assert_allclose(scores, before['score'], rtol=1e-4)
  texts = model.generate(['Is a robin a bird?', 'Who has the key?'], 16)
  assert texts == before['generate']
