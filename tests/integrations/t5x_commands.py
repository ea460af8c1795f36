"""Commands that run T5X on our networks, for its tests."""

import contextlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile

import flax.serialization
import pytest

from moe_lite.checkpoints.t5x import native
from moe_lite.integrations import t5x_checkpoints
from moe_lite.process import gin_paths

has_t5x = importlib.util.find_spec('t5x') is not None
needs_t5x = pytest.mark.skipif(
  not has_t5x, reason='needs T5X: bash launch/test_t5x.sh PYTHON'
)
TASK = 'mini_who_blank_score_eval'
FEW = ('--gin.BATCH_SIZE=8', '--gin.LEARNING_RATE=0.03')


# `python -m MODULE`, but with what jestimator asks of jax, as
# docs/tutorials/t5x.md explains.
MAIN = """
import runpy
import sys
from moe_lite.integrations import t5x_parts
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
"""


def command(module, *arguments, devices=1, files=(), code=0, processes=1):
  """Runs `python -m module` with gin files; returns what it printed.

  With more than one of `processes`, they run it together.
  """
  is_theirs = module.startswith('t5x')
  flags = f'--xla_force_host_platform_device_count={devices}'
  search = (f'--gin_search_paths={gin_paths.folder()}',)
  words = [
    *(sys.executable, *(('-c', MAIN) if is_theirs else ('-m',))),
    *module.split(),
    *(search if is_theirs else ()),
    *(f'--gin_file={name}.gin' for name in files),
    *arguments,
  ]
  together = [()]
  if processes > 1:
    with socket.socket() as free:
      free.bind(('127.0.0.1', 0))
      address = f'127.0.0.1:{free.getsockname()[1]}'
    together = [
      (
        *(f'--coordinator_address={address}', f'--process_index={i}'),
        f'--process_count={processes}',
      )
      for i in range(processes)
    ]
  with contextlib.ExitStack() as files_of_output:
    outputs = [
      files_of_output.enter_context(tempfile.TemporaryFile('w+'))
      for _ in together
    ]
    started = [
      subprocess.Popen(
        [*words, *more],
        env={**os.environ, 'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': flags},
        stdout=output,
        stderr=subprocess.STDOUT,
      )
      for more, output in zip(together, outputs, strict=True)
    ]
    codes = [process.wait() for process in started]
    for output in outputs:
      output.seek(0)
    printed = [output.read() for output in outputs]
  for found, text in zip(codes, printed, strict=True):
    assert found == code, text[-5000:]
  return '\n'.join(printed)


def train(
  run, base, method, *arguments, routers=(), module='t5x.train', **options
):
  return command(
    module,
    f'--gin.MODEL_DIR={str(run)!r}',
    f'--gin.INITIAL_CHECKPOINT_PATH={str(base)!r}',
    *FEW,
    *arguments,
    **options,
    files=(
      'models/t5_1_1_mini',
      f'methods/{method}',
      *routers,
      'data/mini',
      't5x/finetune',
    ),
  )


def evaluate(output, checkpoint, base, *arguments):
  """Accuracy in percent that `t5x.eval` finds on one task."""
  command(
    't5x.eval',
    f'--gin.CHECKPOINT_PATH={str(checkpoint)!r}',
    f'--gin.INITIAL_CHECKPOINT_PATH={str(base)!r}',
    f'--gin.EVAL_OUTPUT_DIR={str(output)!r}',
    f'--gin.MIXTURE_OR_TASK_NAME={TASK!r}',
    *arguments,
    files=('models/t5_1_1_mini', 'methods/mov', 'data/mini_eval', 't5x/eval'),
  )
  (path,) = output.rglob(f'{TASK}-metrics.jsonl')
  (line,) = path.read_text().splitlines()
  return json.loads(line)


def evaluate_here(output, checkpoint, base):
  """Accuracy in percent that `moe_lite.eval` finds on the same task."""
  command(
    'moe_lite.eval',
    f'--gin.CHECKPOINT_PATH={str(checkpoint)!r}',
    f'--gin.INITIAL_CHECKPOINT_PATH={str(base)!r}',
    f'--gin.EVAL_OUTPUT_DIR={str(output)!r}',
    f'--gin.MIXTURE_OR_TASK_NAME={TASK!r}',
    *("--gin.BASE_DTYPE='float32'", '--gin.NUM_EXPERTS=4'),
    files=('models/t5_1_1_mini', 'methods/mov', 'data/mini_eval', 'runs/eval'),
  )
  outcome = json.loads((output / 'results.json').read_text())
  return outcome['tasks'][0]['value']


def read(checkpoint):
  """Path to what the checkpoint's file says of a leaf."""
  contents = flax.serialization.msgpack_restore(
    (checkpoint / 'checkpoint').read_bytes()
  )
  return t5x_checkpoints.flatten(contents['optimizer'])


def undescribe(checkpoint):
  """Removes what a checkpoint says of its run, as in earlier versions."""
  file = checkpoint / 'checkpoint'
  contents = flax.serialization.msgpack_restore(file.read_bytes())
  del contents['optimizer'][native.DESCRIPTION]
  file.write_bytes(flax.serialization.msgpack_serialize(contents))


def bytes_of(folder, pattern='*'):
  return sum(p.stat().st_size for p in folder.rglob(pattern) if p.is_file())


def losses(run):
  """Step to loss, of all processes that trained a run; the last one counts."""
  import tensorflow as tf

  found = {}
  for path in sorted((run / 'train').glob('events.*')):
    for event in tf.compat.v1.train.summary_iterator(str(path)):
      for value in event.summary.value:
        if value.tag == 'loss':
          found[event.step] = float(tf.make_ndarray(value.tensor))
  return found
