"""From a finished run to which experts served which tasks."""

import base64
import csv
import pathlib
import re

import pytest
import seqio

from moe_lite.checkpoints.runs import restore_trainable
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.evaluation import routing_summary, routing_usage
from moe_lite.evaluation.examples import ExampleReader
from moe_lite.inference.source import ModelSource
from moe_lite.process import cli
from moe_lite.routing_report import command, writing
from tests import tiny, tiny_run
from tests.paths import TINY_GIN


@pytest.fixture(scope='module')
def paths(tmp_path_factory):
  tiny_run.add_suite()
  return tiny_run.write(tmp_path_factory.mktemp('routing'), scale=4.0)


@pytest.mark.slow
def test_the_command_needs_only_the_run(tmp_path, capsys):
  """A run started by command is read by its own configuration."""
  base, run = tiny.save_base(tmp_path / 'base'), str(tmp_path / 'run')
  files = (f'{TINY_GIN}', 'methods/mov.gin', 'runs/finetune.gin')
  argv = [
    'train',
    *(f'--gin_file={file}' for file in files),
    f'--gin.MODEL_DIR={run!r}',
    f'--gin.INITIAL_CHECKPOINT_PATH={base!r}',
    *('--gin.BATCH_SIZE=4', '--gin.TRAIN_STEPS=1', '--gin.NUM_EXPERTS=3'),
  ]
  assert cli.main('training.train', files[-1], argv) == 0
  capsys.readouterr()
  # The task is of the mixture, and counts once.
  argv = ['x', run, '--mixture=tiny_mixture,tiny_task']
  argv += ['--examples=4', '--sentences=1']
  code = cli.guard(command.report, argv, None)
  assert code == 0, capsys.readouterr().err
  folder = pathlib.Path(run, routing_summary.FOLDER)
  # A card can tell of it.
  told = routing_summary.read(run)
  assert told['tasks'] == 2 and told['examples'] == 4
  assert told['of'] == parameters.fingerprint(restore_trainable(run)[0])
  assert told['headline'].startswith('Of ')
  with (folder / 'usage.csv').open() as file:
    rows = list(csv.DictReader(file))
  assert {row['expert'] for row in rows} == {'0', '1', '2'}
  tokens = {
    row['dataset']: row['tokens']
    for row in rows
    if '/layers_0/attention/key' in row['router']
  }
  assert tokens['tiny_task'] == tokens['tiny_other']
  # Fresh routers hardly prefer anyone.
  assert all(abs(float(row['probability']) - 1 / 3) < 0.05 for row in rows)
  page = (folder / writing.PAGE).read_text()
  for name in ('usage', 'entropy', 'experts'):
    png = (folder / f'{name}.png').read_bytes()
    assert png.startswith(b'\x89PNG')
    assert base64.b64encode(png).decode() in page
  # Of one task there is nothing to compare, and that is said.
  assert 'No held-out data sets were read' in page
  assert not (folder / 'shift.png').exists()
  # It needs no other file, and links only to the numbers beside it.
  links = set(re.findall('(?:src|href)="(?!data:|#)(.*?)"', page))
  assert links == {
    *('usage.csv', 'entropy.csv', 'experts.csv', 'datasets.csv'),
    *('routers.csv', 'sentences.csv'),
  } & {x.name for x in folder.iterdir()}
  assert 'routers of the last layer of each place' in page
  # Fresh routers have no preference yet.
  with (folder / 'routers.csv').open() as file:
    assert {row['verdict'] for row in csv.DictReader(file)} == {'uniform'}


def test_mistakes_in_what_to_look_at_come_before_the_pictures(
  tmp_path, paths, monkeypatch
):
  base, run = paths
  opened = (
    ModelSource(tiny_run.model(), run, base, base_dtype='float32').load(),
    ExampleReader(
      seqio.get_mixture_or_task('tiny_score_eval').tasks, tiny_run.LENGTHS
    ),
  )
  monkeypatch.setattr(routing_usage, 'open_run', lambda *_, **__: opened)
  folder = tmp_path / 'report'
  for pattern, message in (('[', 'not a regular'), ('x9', 'fits no router')):
    with pytest.raises(UserError, match=message):
      writing.write(run, examples=1, routers=pattern, folder=str(folder))
  assert not folder.exists()


def test_mistakes_end_with_code_2(tmp_path, capsys):
  for argv, message in (
    ([], 'Give one run folder'),
    ([str(tmp_path)], 'is not a run folder'),
  ):
    assert cli.guard(command.report, ['x', *argv], None) == 2
    assert message in capsys.readouterr().err
