"""Many processes of one run: what they compute, what they leave, how they end.

One machine stands for many hosts. Processes train the mini suite's smallest
part, and must reach what a single process reaches.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import sys
import time

import gin
import numpy as np
import pytest

from moe_lite.process import cli
from tests.process.processes import Processes, free_port, succeed

STEPS = 8
SAVED = 4
TOLERANCE = 1e-5
# Has this file, run as a program, train and fail.
FAIL = 'fail'
MINI = [
  *('--gin_file=models/t5_1_1_mini.gin', '--gin_file=methods/mov.gin'),
  '--gin.NUM_EXPERTS=4',
  "--gin.BASE_DTYPE='float32'",
]
TRAIN = [
  *(*MINI, '--gin_file=data/mini.gin', '--gin_file=runs/finetune.gin'),
  "--gin.MIXTURE_OR_TASK_NAME='mini_kinds_choose'",
  "--gin.TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 16}",
  '--gin.BATCH_SIZE=8',
  *('--gin.LOG_PERIOD=1', f'--gin.SAVE_PERIOD={SAVED}'),
  # Adafactor's first step has nearly the gradients' signs, and so magnifies the
  # rounding of those near zero; this epsilon is far above it.
  '--gin.OPTIMIZER=@optimizers.adamw',
  *('--gin.optimizers.adamw.eps=1e-3', '--gin.LEARNING_RATE=0.03'),
]


def train(folder, steps=STEPS, *more, shards=4):
  return [
    *(*TRAIN, f'--gin.MODEL_DIR={str(folder)!r}', f'--gin.TRAIN_STEPS={steps}'),
    f'--gin.DATA_SHARDS={shards}',
    *more,
  ]


def losses(folder):
  lines = (folder / 'metrics.jsonl').read_text().splitlines()
  return [json.loads(line)['loss'] for line in lines]


def assert_as_alone(folder, alone):
  np.testing.assert_allclose(losses(folder), losses(alone), rtol=TOLERANCE)


def train_side_by_side(folder, shards):
  """The same run by this process and by two others, and what those said."""
  alone, two = folder / 'alone', folder / 'two'
  with Processes(folder / 'said', train(two, shards=shards)) as processes:
    argv = ['train', *train(alone, shards=shards)]
    try:
      assert cli.main('training.train', 'runs/finetune.gin', argv) == 0
    finally:
      gin.clear_config()
    ended = processes.wait(300)
  assert [e.code for e in ended] == [0, 0], ended
  return alone, two, [e.error for e in ended]


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
  """Runs whose data up to four processes may share."""
  return train_side_by_side(tmp_path_factory.mktemp('runs'), 4)


@pytest.fixture(scope='module')
def alone(runs):
  return runs[0]


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
  alone, two, said = train_side_by_side(tmp_path, 2)
  assert losses(alone)[-1] < 0.7 * losses(alone)[0]
  assert_as_alone(two, alone)
  assert json.loads((two / 'run.json').read_text())['processes'] == 2
  # One checkpoint, of which each process wrote its data shards.
  assert {p.name for p in two.iterdir()} >= {'checkpoints', 'loss.png'}
  steps = sorted(int(p.name) for p in (two / 'checkpoints').iterdir())
  assert steps == [SAVED, STEPS]
  for folder in (alone, two):
    dataset = folder / 'checkpoints' / str(SAVED) / 'data'
    shards = {f'shard_{i}_of_2' for i in range(2)}
    assert shards <= {p.name for p in dataset.iterdir()}
  # The first process speaks for all.
  assert 'parameters train' in said[0] and 'step 8/8' in said[0]
  assert not said[1]


def resume(before, folder, *more, **options):
  """Goes on after the first checkpoint of a finished run, in a copy of it."""
  shutil.copytree(before, folder / 'run')
  shutil.rmtree(folder / 'run' / 'checkpoints' / str(STEPS))
  arguments = train(folder / 'run', STEPS, *more)
  said = succeed(folder / 'said', arguments, **options)
  assert f'resumed at step {SAVED}' in said[0].error
  assert 'data differ' not in said[0].error
  assert 'of no use' not in said[0].error
  assert 'batches again' not in said[0].error
  return folder / 'run'


@pytest.mark.slow
@pytest.mark.parametrize(
  'count, devices, mesh, more',
  [
    (2, 2, (2, 2), ['--gin.FULLY_SHARDED=True', '--gin.MICROBATCHES=2']),
    (2, 2, (4, 1), []),
    (4, 1, (4, 1), []),
    # Every process holds every row.
    (4, 1, (1, 4), []),
  ],
)
def test_meshes_over_processes_change_nothing(
  alone, tmp_path, count, devices, mesh, more
):
  run = tmp_path / 'run'
  arguments = train(run, STEPS, f'--gin.MESH={mesh}', *more)
  succeed(tmp_path / 'said', arguments, count=count, devices=devices)
  assert_as_alone(run, alone)


@pytest.mark.slow
def test_a_run_moves_between_numbers_of_processes(runs, tmp_path):
  """4 -> 2 -> 1 -> 4 processes, on other meshes, in both forms.

  The number of data shards is the checkpoint's where none is given.
  """
  alone, two, _ = runs
  auto, scan = '--gin.DATA_SHARDS=None', '--gin.SCAN_LAYERS=True'
  one = resume(two, tmp_path / 'one', auto, scan, count=1)
  assert_as_alone(one, alone)
  four = resume(
    one, tmp_path / 'four', auto, scan, '--gin.MESH=(2, 2)', count=4
  )
  assert_as_alone(four, alone)
  back = resume(
    four, tmp_path / 'back', auto, '--gin.MESH=(2, 2)', count=2, devices=2
  )
  assert_as_alone(back, alone)


def end(folder, seconds, message, *codes, **options):
  """Processes that all end soon, with this message and these codes."""
  arguments = options.pop('arguments', train(folder / 'run'))
  with Processes(folder / 'said', arguments, **options) as processes:
    ended = processes.wait(seconds)
  assert tuple(e.code for e in ended) == codes, ended
  for process in ended:
    assert message in process.error
    assert 'Traceback' not in process.error
  assert not list((folder / 'run').glob('checkpoints/*'))
  return ended


@pytest.mark.slow
def test_another_configuration_is_noticed_by_all(tmp_path):
  only = {0: [], 1: ['--gin.BATCH_SIZE=4']}
  message = 'Process 1 was given another configuration than process 0'
  for process in end(tmp_path, 60, message, 2, 2, only=only):
    assert '-BATCH_SIZE = 8\n  +BATCH_SIZE = 4\n' in process.error


@pytest.mark.slow
def test_another_number_of_processes_is_noticed_by_all(tmp_path):
  only = {0: [], 1: ['--process_count=3']}
  ended = end(tmp_path, 60, 'another configuration', 2, 2, only=only)
  assert '-process_count = 2\n  +process_count = 3\n' in ended[0].error


@pytest.mark.slow
def test_a_mistake_of_one_process_ends_all(tmp_path):
  only = {0: [], 1: ['--gin_file=nowhere.gin']}
  end(tmp_path, 60, '--gin_file=nowhere.gin', 2, 2, only=only)


@pytest.mark.slow
def test_too_few_processes_do_not_wait_for_ever(tmp_path):
  message = 'Not all of the 3 processes joined at 127.0.0.1'
  end(tmp_path, 70, message, 2, 2, count=3, only={0: [], 1: []})


@pytest.mark.slow
def test_nobody_at_the_address_is_a_mistake(tmp_path):
  port = free_port()
  message = f'--coordinator_address=127.0.0.1:{port}: nobody listened there'
  end(tmp_path, 70, message, 2, only={1: []}, port=port)


@pytest.mark.slow
@pytest.mark.parametrize(
  'victim, number',
  [(1, signal.SIGKILL), (0, signal.SIGKILL), (1, signal.SIGSTOP)],
)
def test_a_lost_process_ends_the_others(tmp_path, victim, number):
  """A killed one breaks its connections; a stopped one only falls silent."""
  run = tmp_path / 'run'
  arguments = train(run, 10_000, '--gin.BATCH_SIZE=12')
  with Processes(tmp_path / 'said', arguments, count=3) as processes:
    processes.wait_for(run / 'metrics.jsonl', SAVED + 2)
    os.kill(processes.running[victim].pid, number)
    start = time.monotonic()
    others = [p for i, p in processes.running.items() if i != victim]
    codes = [p.wait(60) for p in others]
    print(f'{number}: {time.monotonic() - start:.1f} s')
    said = [e for i, e in enumerate(processes.errors()) if i != victim]
  assert codes == [1, 1]
  for error in said:
    assert 'error: Process' in error and 'lost' in error
    assert 'is saved in' in error and 'Run the same command again' in error
    assert 'Traceback' not in error


@pytest.mark.slow
def test_sigterm_stops_all_at_one_step_and_saves(alone, tmp_path):
  run = tmp_path / 'run'
  with Processes(tmp_path / 'said', train(run, 10_000)) as processes:
    processes.wait_for(run / 'metrics.jsonl', 2)
    os.kill(processes.running[1].pid, signal.SIGTERM)
    ended = processes.wait(60)
  assert [e.code for e in ended] == [128 + signal.SIGTERM] * 2
  (stopped,) = {e.error.partition('Stopped at step ')[2] for e in ended}
  step = int(stopped.split()[0])
  assert (run / 'checkpoints' / str(step)).is_dir()
  common = min(step, STEPS)
  np.testing.assert_allclose(
    losses(run)[:common], losses(alone)[:common], rtol=TOLERANCE
  )
  said = succeed(tmp_path / 'again', train(run, step + 2), count=1)
  assert f'resumed at step {step}' in said[0].error


def fail_midway(argv):
  """Trains, but the data of process 1 end after five batches."""
  from moe_lite.core.errors import UserError
  from moe_lite.data import batches
  from moe_lite.process import cli

  read = batches.Batches.__next__

  def read_or_fail(stream):
    if stream.count == 5 and '--process_index=1' in argv:
      raise UserError('There are no more data.')
    return read(stream)

  batches.Batches.__next__ = read_or_fail
  sys.exit(cli.main('training.train', 'runs/finetune.gin', ['train', *argv]))


@pytest.mark.slow
def test_a_mistake_of_one_process_in_the_middle_ends_all(tmp_path):
  """Where the others wait for it in a step."""
  run = tmp_path / 'run'
  arguments = [FAIL, *train(run, 10_000)]
  module = 'tests.process.processes_test'
  with Processes(tmp_path / 'said', arguments, module=module) as processes:
    processes.wait_for(run / 'metrics.jsonl', SAVED)
    ended = processes.wait(60)
  assert [e.code for e in ended] == [2, 2]
  assert 'error: Process 1 of 2 ended: There are no more' in ended[0].error
  assert 'error: There are no more data.' in ended[1].error
  assert not any('Traceback' in e.error for e in ended)


def measure(argv):
  """What a process of several finds; the first writes it down.

  Scores of a tiny suite, and generated text, of a run on disk.
  """
  from moe_lite.data import dataset
  from moe_lite.inference import answers, ranking
  from moe_lite.inference.generation import Generator
  from moe_lite.inference.padding import Input, Shapes
  from moe_lite.inference.source import ModelSource
  from moe_lite.process import distributed
  from tests import tiny_run

  parser = argparse.ArgumentParser()
  for name in ('base', 'run', 'output', 'coordinator_address'):
    parser.add_argument(f'--{name}')
  for name in ('process_count', 'process_index'):
    parser.add_argument(f'--{name}', type=int)
  given = parser.parse_args(argv)
  distributed.join(
    False, given.coordinator_address, given.process_count, given.process_index
  )
  trained = ModelSource(
    tiny_run.model(), given.run, given.base, base_dtype='float32'
  ).load()
  shapes = Shapes(4, tiny_run.LENGTHS['inputs'], tiny_run.LENGTHS['targets'])
  rankers = (
    trained.compile(trained.model.encode, gather=False),
    trained.compile(trained.model.score_choices),
  )
  found = {}
  for name in tiny_run.add_suite()[:2]:
    task = dataset.find(name)
    rows = dataset.read(task, 'validation', tiny_run.LENGTHS, False)
    scores = ranking.score(answers.collect(name, rows), *rankers, shapes)
    inputs = [Input.of(row) for row in rows]
    outputs = [o for batch in Generator(trained, shapes)(inputs) for o in batch]
    found[name] = np.asarray(scores).tolist(), [o.tolist() for o in outputs]
  if not given.process_index:
    pathlib.Path(given.output).write_text(json.dumps(found))


@pytest.mark.slow
def test_scores_and_text_are_those_of_one_process(tmp_path):
  from tests import tiny_run

  base, run = tiny_run.write(tmp_path)
  found = []
  for count, devices in ((1, 1), (2, 1), (2, 2)):
    output = tmp_path / f'{count}_{devices}.json'
    succeed(
      tmp_path / f'said_{count}_{devices}',
      [f'--base={base}', f'--run={run}', f'--output={output}'],
      count=count,
      devices=devices,
      module='tests.process.processes_test',
    )
    found.append(json.loads(output.read_text()))
  for other in found[1:]:
    assert other.keys() == found[0].keys()
    for name, (scores, outputs) in found[0].items():
      np.testing.assert_allclose(other[name][0], scores, rtol=TOLERANCE)
      assert other[name][1] == outputs


@pytest.mark.slow
def test_evaluation_and_inference_are_those_of_one_process(alone, tmp_path):
  results, lines = [], []
  for count in (1, 2):
    folder = tmp_path / str(count)
    run = [*MINI, f'--gin.CHECKPOINT_PATH={str(alone)!r}']
    evaluate = [
      *(*run, '--gin_file=data/mini_eval.gin', '--gin_file=runs/eval.gin'),
      "--gin.MIXTURE_OR_TASK_NAME='mini_who_blank_score_eval'",
      f'--gin.EVAL_OUTPUT_DIR={str(folder / "eval")!r}',
    ]
    succeed(folder / 'e', evaluate, count=count, module='moe_lite.eval')
    result = json.loads((folder / 'eval' / 'results.json').read_text())
    for task in result['tasks']:
      task.pop('seconds')
    results.append((result['tasks'], result['average']))
    infer = [
      *(*run, '--gin_file=data/mini.gin', '--gin_file=runs/infer.gin'),
      "--gin.MIXTURE_OR_TASK_NAME='mini_kinds_choose'",
      f'--gin.INFER_OUTPUT_DIR={str(folder / "infer")!r}',
    ]
    # Twice: nothing is left to do for the second, on any process.
    for again in range(2):
      succeed(folder / f'i{again}', infer, count=count, module='moe_lite.infer')
    lines.append((folder / 'infer' / 'predictions.jsonl').read_text())
  assert results[0] == results[1]
  assert lines[0] == lines[1] and lines[0].count('\n') > 8


if __name__ == '__main__':
  if sys.argv[1] == FAIL:
    fail_midway(sys.argv[2:])
  else:
    measure(sys.argv[1:])
