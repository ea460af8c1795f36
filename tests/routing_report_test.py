"""From a finished run to which experts served which tasks."""

import csv
import pathlib

import numpy as np
import pytest
import seqio

from moe_lite import cli, loaded, routing_report, routing_usage, run_folder
from moe_lite.errors import UserError
from tests import tiny, tiny_run

TINY = pathlib.Path(__file__).parent / 'tiny.gin'


@pytest.fixture(scope='module')
def paths(tmp_path_factory):
  tiny_run.add_suite()
  return tiny_run.write(tmp_path_factory.mktemp('routing'), scale=4.0)


def measure(paths, scan_layers=False):
  base, run = paths
  model = tiny_run.model(scan_layers=scan_layers)
  trained = loaded.load(model, run, base, base_dtype='float32')
  tasks = seqio.get_mixture_or_task('tiny_score_eval').tasks
  return routing_usage.measure(
    trained, tasks, 'validation', tiny_run.LENGTHS, examples=5
  )


@pytest.fixture(scope='module')
def measured(paths):
  return measure(paths)


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
  scanned = measure(paths, scan_layers=True)
  assert scanned.keys() == measured.keys()
  for dataset, usages in measured.items():
    assert scanned[dataset].keys() == usages.keys()
    for router, usage in usages.items():
      np.testing.assert_allclose(
        scanned[dataset][router].probability, usage.probability, rtol=1e-4
      )


def test_the_picture_shows_the_last_layer_of_each_place():
  p = np.array([3.0, 1.0])
  usage = routing_usage.Usage(p, p, np.array([4.0, 4.0]), 4.0)
  names = [f'encoder/layers_{i}/mlp/intermediate' for i in (2, 10, 9)]
  panels = routing_usage.panels({'a': dict.fromkeys(names, usage)})
  assert list(panels) == [names[1]]
  np.testing.assert_allclose(panels[names[1]], [[1.5, 0.5]])


def test_a_method_without_routers_is_refused(paths):
  base, _ = paths
  frozen = loaded.load(tiny_run.model(), 'base', base, base_dtype='float32')
  tasks = seqio.get_mixture_or_task('tiny_score_eval').tasks
  with pytest.raises(UserError, match='has no routers'):
    routing_usage.measure(frozen, tasks, 'validation', tiny_run.LENGTHS, 2)


def test_the_command_needs_only_the_run(tmp_path, capsys):
  """A run started by command is read by its own configuration."""
  base, run = tiny.save_base(tmp_path / 'base'), str(tmp_path / 'run')
  files = (f'{TINY}', 'methods/mov.gin', 'runs/finetune.gin')
  argv = [
    'train',
    *(f'--gin_file={file}' for file in files),
    f'--gin.MODEL_DIR={run!r}',
    f'--gin.INITIAL_CHECKPOINT_PATH={base!r}',
    *('--gin.BATCH_SIZE=4', '--gin.TRAIN_STEPS=1', '--gin.NUM_EXPERTS=3'),
  ]
  assert cli.main('training.train', files[-1], argv) == 0
  capsys.readouterr()
  code = cli.guard(routing_report.report, ['x', run, '--examples=4'], None)
  assert code == 0, capsys.readouterr().err
  with open(f'{run}/{routing_usage.CSV}') as file:
    rows = list(csv.DictReader(file))
  assert {row['expert'] for row in rows} == {'0', '1', '2'}
  # Fresh routers hardly prefer anyone.
  assert all(abs(float(row['probability']) - 1 / 3) < 0.05 for row in rows)
  with open(f'{run}/{routing_usage.PNG}', 'rb') as file:
    assert file.read(4) == b'\x89PNG'


def test_mistakes_end_with_code_2(tmp_path, capsys):
  for argv, message in (
    ([], 'Give one run folder'),
    ([str(tmp_path)], f'has no {run_folder.CONFIG}'),
  ):
    assert cli.guard(routing_report.report, ['x', *argv], None) == 2
    assert message in capsys.readouterr().err
