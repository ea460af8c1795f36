"""From a finished run to which experts served which tasks."""

import base64
import csv
import functools
import pathlib
import re

import numpy as np
import pytest
import seqio

from moe_lite import adapters, routing
from moe_lite.core.errors import UserError
from moe_lite.evaluation import routing_usage
from moe_lite.inference.padding import Shapes
from moe_lite.inference.source import ModelSource
from moe_lite.process import cli
from moe_lite.routing_report import command, writing
from moe_lite.training import run_folder
from tests import tiny, tiny_run
from tests.paths import TINY_GIN


@pytest.fixture(scope='module')
def paths(tmp_path_factory):
  tiny_run.add_suite()
  return tiny_run.write(tmp_path_factory.mktemp('routing'), scale=4.0)


def measure(model, run, base):
  trained = ModelSource(model, run, base, base_dtype='float32').load()
  tasks = seqio.get_mixture_or_task('tiny_score_eval').tasks
  source = routing_usage.Source(trained, tasks, tiny_run.LENGTHS)
  return routing_usage.measure(
    source, routing_usage.read(source, 'validation', examples=5)
  )


@pytest.fixture(scope='module')
def measured(paths):
  base, run = paths
  return measure(tiny_run.model(), run, base)


def test_means_are_over_the_tokens_of_the_right_choices(measured):
  assert list(measured) == ['tiny_pair', 'tiny_triple']
  columns = [tiny_run.score_columns(seed) for seed in range(2)]
  texts = [
    text
    for c in columns
    for (example, _), text, right in zip(
      c['idx'], c['inputs'], c['is_correct'], strict=True
    )
    if example < 5 and right
  ]
  usage = measured['tiny_pair']['encoder/layers_0/attention/key']
  # Bytes, and no padding: neither of rows nor of the batch.
  assert usage.tokens == sum(len(text) for text in texts)
  for usages in measured.values():
    for usage in usages.values():
      np.testing.assert_allclose(usage.probability.sum(), usage.tokens, 1e-5)


def test_a_scanned_network_routes_alike(paths, measured):
  base, run = paths
  scanned = measure(tiny_run.model(scan_layers=True), run, base)
  assert scanned.keys() == measured.keys()
  for dataset, usages in measured.items():
    assert scanned[dataset].keys() == usages.keys()
    for router, usage in usages.items():
      np.testing.assert_allclose(
        scanned[dataset][router].probability, usage.probability, rtol=1e-4
      )


def test_a_method_without_routers_is_refused(paths):
  base, _ = paths
  with pytest.raises(UserError, match='has no routers'):
    measure(tiny_run.model(), 'base', base)


def test_a_base_is_loaded_without_what_decides_for_its_routers(paths):
  base, _ = paths
  shared = functools.partial(adapters.MoV, router=routing.SharedRouter)
  model = tiny_run.model(
    adapters={'key': shared}, decisions={'layer': routing.Decision}
  )
  frozen = ModelSource(model, 'base', base, base_dtype='float32').load()
  assert not frozen.model.module.config.decisions


def test_tasks_without_right_choices_are_refused(paths):
  base, run = paths
  columns = tiny_run.score_columns(0)
  columns['is_correct'] = [False] * len(columns['is_correct'])
  tiny_run.add_task('tiny_unlabelled_score_eval', columns)
  trained = ModelSource(
    tiny_run.model(), run, base, base_dtype='float32'
  ).load()
  task = seqio.get_mixture_or_task('tiny_unlabelled_score_eval')
  source = routing_usage.Source(trained, [task], tiny_run.LENGTHS)
  with pytest.raises(UserError, match='no right choice in split'):
    routing_usage.read(source, 'validation', 2)


def test_vectors_of_some_examples_alone_are_refused():
  task = seqio.get_mixture_or_task('tiny_pair_0_score_eval')
  row = {name: np.ones(2, np.int32) for name in ('inputs', 'targets')}
  vector = {'inputs_embedding': np.ones(3, np.float32)}
  examples = [routing_usage.Example(task, x) for x in (row, row | vector)]
  with pytest.raises(UserError, match='Some of tiny_pair_0_score_eval have'):
    routing_usage.batch_of(examples, Shapes(2, 8, 8))


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
  folder = pathlib.Path(run, writing.FOLDER)
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
  # It needs no other file.
  assert not re.findall('(?:src|href)="(?!data:|#)', page)


def test_mistakes_in_what_to_look_at_come_before_the_pictures(
  tmp_path, paths, monkeypatch
):
  base, run = paths
  source = routing_usage.Source(
    ModelSource(tiny_run.model(), run, base, base_dtype='float32').load(),
    seqio.get_mixture_or_task('tiny_score_eval').tasks,
    tiny_run.LENGTHS,
  )
  monkeypatch.setattr(routing_usage, 'open_run', lambda *_: source)
  folder = tmp_path / 'report'
  for pattern, message in (('[', 'no regular'), ('x9', 'fits no router')):
    with pytest.raises(UserError, match=message):
      writing.write(run, examples=1, routers=pattern, folder=str(folder))
  assert not folder.exists()


def test_mistakes_end_with_code_2(tmp_path, capsys):
  for argv, message in (
    ([], 'Give one run folder'),
    ([str(tmp_path)], f'has no {run_folder.CONFIG}'),
  ):
    assert cli.guard(command.report, ['x', *argv], None) == 2
    assert message in capsys.readouterr().err
