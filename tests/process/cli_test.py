"""Command lines: what they mean, and how a mistake ends."""

import os
import re
import subprocess
import sys

import gin
import pytest

from moe_lite.core import locks
from moe_lite.core.errors import UserError
from moe_lite.process import cli, gin_paths
from tests import tiny
from tests.paths import ROOT

FILES = ('tests/tiny.gin', 'methods/mov.gin', 'runs/finetune.gin')


@pytest.fixture(autouse=True)
def empty_config():
  yield
  gin.clear_config()


@pytest.fixture(scope='module')
def base(tmp_path_factory):
  return tiny.save_base(tmp_path_factory.mktemp('bases') / 'tiny')


def files(*names):
  return [
    f'--gin_file={ROOT / n if n.startswith("tests/") else n}' for n in names
  ]


def run(capsys, *arguments, entry='training.train'):
  """The exit code and what was printed on standard error."""
  code = cli.main(entry, 'runs/finetune.gin', ['train', *arguments])
  return code, capsys.readouterr().err


# What is added to a correct command, and what the message must say.
MISTAKES = {
  'unknown macro': (
    ['--gin.LEARNING_RAT=1'],
    "no.* macro 'LEARNING_RAT'. Did you mean 'LEARNING_RATE'",
  ),
  'macro of another method': (
    ['--gin.TOP_K=2'],
    "none of the gin files has a macro 'TOP_K'. It is a macro of "
    'routers/top_k.gin, routers/arrow.gin, .*which this command does not read. '
    'Add one of them, as in --gin_file=routers/top_k.gin',
  ),
  'macro of one file': (
    ['--gin.HASH_SEED=2'],
    'a macro of routers/hash.gin, which.* Add --gin_file=routers/hash.gin.$',
  ),
  'macro of another command': (
    ["--gin.CHECKPOINT_PATH='x'"],
    'a macro of runs/eval.gin, .*infer.gin, .* which this command does not '
    'read.$',
  ),
  'unknown parameter': (
    ['--gin.training.train.mush=3'],
    "--gin.training.train.mush=3.*parameter named 'mush'",
  ),
  'unknown function': (['--gin.trainer.trane.x=3'], 'trainer.trane'),
  'no quotes': (
    ['--gin.MODEL_DIR=/tmp/x'],
    'A string needs quotes of its own: --gin.MODEL_DIR="\'/tmp/x\'"',
  ),
  'bad syntax': (['--gin.BATCH_SIZE=(8,'], "'\\(8,' is not a value"),
  'no value': (['--gin.BATCH_SIZE'], 'has no value'),
  'unknown flag': (['--gin_fil=x'], 'gin_fil'),
  'not a flag': (['BATCH_SIZE=8'], 'is not a flag'),
  'no such file': (
    ['--gin_file=methods/mvo.gin'],
    "methods/mvo.gin.*Did you mean 'methods/mov.gin'",
  ),
  'unknown site': (
    ["--gin.ADAPTERS={'kee': @adapters.MoV}"],
    "site 'kee'.*Did you mean 'key'",
  ),
  'no such base': (
    ["--gin.INITIAL_CHECKPOINT_PATH='nowhere'"],
    "'nowhere': there is no base",
  ),
  'no base': (
    ['--gin.INITIAL_CHECKPOINT_PATH=None'],
    'Adapters need a pretrained base',
  ),
  'foreign base': (
    ['--gin.t5.T5Config.num_encoder_layers=3'],
    'does not fit the network: it lacks encoder/layers_2/',
  ),
  'no such task': (
    ["--gin.MIXTURE_OR_TASK_NAME='tiny_mix'"],
    "'tiny_mix' is not among",
  ),
  'no such split': (["--gin.data.Dataset.split='x'"], "no split 'x'"),
  'empty split': (["--gin.data.Dataset.split='none'"], 'is empty'),
  'other vocabulary': (['--gin.t5.T5Config.vocab_size=512'], '512 entries'),
  'mesh too large': (['--gin.MESH=(64, 1)'], 'needs 64 devices'),
  'batch not divisible': (['--gin.MICROBATCHES=3'], 'MICROBATCHES = 3'),
  'unknown type': (
    ["--gin.t5.T5Config.dtype='bf16'"],
    "ACTIVATION_DTYPE = 'bf16' must be",
  ),
  'no steps': (['--gin.TRAIN_STEPS=0'], 'TRAIN_STEPS = 0'),
  'int4': (["--gin.BASE_DTYPE='int4'"], "'int4' must be one of"),
  'unknown factor': (
    ["--gin.LOSS_NORMALIZING_FACTOR='x'"],
    "LOSS_NORMALIZING_FACTOR = 'x'",
  ),
  'bad predicate': (["--gin.TRAINABLE='(x'"], 'regular expression'),
  'predicate of nothing': (["--gin.TRAINABLE='x'"], 'matches none'),
  'data shards do not divide': (
    ['--gin.DATA_SHARDS=3'],
    'DATA_SHARDS = 3 must',
  ),
  'half an address': (
    ['--coordinator_address=127.0.0.1:1', '--process_index=0'],
    '--process_count is missing',
  ),
  'no port': (
    ['--coordinator_address=x', '--process_count=2', '--process_index=0'],
    '--coordinator_address=x must be HOST:PORT',
  ),
  'process out of range': (
    ['--coordinator_address=x:1', '--process_count=2', '--process_index=2'],
    '--process_index=2 must be from 0 to 1',
  ),
  'not on a pod': (
    ['--multi_host'],
    'cannot find one another.*needs Cloud TPU',
  ),
  'no such cache': (
    ['--seqio_additional_cache_dirs=/no/such'],
    "'/no/such' is not a folder",
  ),
}


@pytest.mark.parametrize('name', MISTAKES)
def test_a_mistake_ends_with_one_message_and_code_2(
  name, base, tmp_path, capsys
):
  arguments, message = MISTAKES[name]
  given = [
    *files(*FILES),
    f'--gin.MODEL_DIR={str(tmp_path / "run")!r}',
    f'--gin.INITIAL_CHECKPOINT_PATH={base!r}',
    '--gin.BATCH_SIZE=4',
    '--gin.TRAIN_STEPS=2',
    '--gin.NUM_EXPERTS=2',
    *arguments,
  ]
  code, error = run(capsys, *given)
  assert code == 2, error
  assert error.startswith('error: ')
  assert 'Traceback' not in error and 'In call to' not in error
  assert re.search(message, error, re.S), error
  assert not list((tmp_path / 'run').glob('checkpoints/*'))


@pytest.mark.parametrize(
  'names, message',
  [
    ([], 'No --gin_file'),
    (FILES[:2], 'configures training.train. Add --gin_file=runs/finetune.gin'),
    (FILES[::2], r'ADAPTERS is required by .*--gin_file=methods/full.gin or'),
    (
      ('methods/mov.gin', 'tests/tiny.gin', 'runs/finetune.gin'),
      'ADAPTERS is required by t5.T5Config.adapters.*after the file',
    ),
    (
      ('models/t5_1_1_mini.gin', 'methods/mov.gin', 'runs/finetune.gin'),
      'MIXTURE_OR_TASK_NAME is used by data.Dataset.*data/mini.gin',
    ),
    (
      FILES,
      r'MODEL_DIR is required by training.train.model_dir. Give it with --gin',
    ),
  ],
)
def test_a_missing_file_is_named_by_what_it_provides(names, message, capsys):
  arguments = files(*names)
  if 'MODEL_DIR' not in message:
    arguments.append("--gin.MODEL_DIR='x'")
  if names == FILES:
    arguments.append("--gin.INITIAL_CHECKPOINT_PATH='x'")
  code, error = run(capsys, *arguments)
  assert code == 2
  assert re.search(message, error, re.S), error


def test_flags_are_those_of_t5x(tmp_path):
  """Later files and flags win; files of one's own come first in the search."""
  own = tmp_path / 'mine'
  own.mkdir()
  (own / 'last.gin').write_text('SEED = 5\nTRAIN_STEPS = 7\nMESH = (1, 1)\n')
  cli.configure(
    [
      'train',
      *files(*FILES),
      '--gin_file=last.gin',
      f'--gin_search_paths={own}',
      "--gin.MODEL_DIR='a=b'",
      "--gin.INITIAL_CHECKPOINT_PATH='x'",
      '--gin_bindings=BATCH_SIZE = 4',
      '--gin.training.train.keep = 9',
      '--gin.TRAIN_STEPS=8',
    ],
    'training.train',
    'runs/finetune.gin',
  )
  query = gin.query_parameter
  assert query('SEED/macro.value') == 5
  assert query('TRAIN_STEPS/macro.value') == 8
  assert query('BATCH_SIZE/macro.value') == 4
  assert query('MODEL_DIR/macro.value') == 'a=b'
  assert query('training.train.keep') == 9


def test_what_an_imported_module_raises_names_its_line(
  tmp_path, monkeypatch, capsys
):
  (tmp_path / 'broken_tasks.py').write_text("raise ValueError('mine')\n")
  (tmp_path / 'broken.gin').write_text('import broken_tasks\n')
  (tmp_path / 'missing.gin').write_text('import no_such_module\n')
  monkeypatch.syspath_prepend(str(tmp_path))
  code, message = run(capsys, f'--gin_file={tmp_path / "broken.gin"}')
  assert code == 2 and 'broken_tasks.py, line 1, `raise Val' in message
  assert message.strip().endswith('raised ValueError: mine')
  code, message = run(capsys, f'--gin_file={tmp_path / "missing.gin"}')
  assert code == 2 and 'no_such_module' in message


def test_ctrl_c_says_how_to_go_on(capsys):
  def interrupt(argv):
    raise KeyboardInterrupt

  assert cli.guard(interrupt, ['train'], '') == 130
  assert 'same command' in capsys.readouterr().err


def test_a_folder_of_the_user_s_hides_no_gin_file(tmp_path, monkeypatch):
  """A folder `runs` beside the user is one that Python could import."""
  (tmp_path / 'runs').mkdir()
  monkeypatch.chdir(tmp_path)
  monkeypatch.syspath_prepend(str(tmp_path))
  argv = ['train', *files(*FILES), "--gin.MODEL_DIR='x'"]
  argv.append("--gin.INITIAL_CHECKPOINT_PATH='y'")
  assert callable(cli.configure(argv, 'training.train', FILES[-1]))


def test_gin_files_are_found_without_a_search_path():
  assert (gin_paths.folder() / 'runs' / 'finetune.gin').is_file()
  assert gin_paths.providers('RENORMALIZE') == ['routers/top_k.gin']
  assert 'methods/mov.gin' in gin_paths.providers('ADAPTERS')
  assert not any('models' in name for name in gin_paths.providers('ADAPTERS'))


def test_the_entry_point_exits_with_2_and_prints_nothing_else():
  """In a process of its own, as a user sees it."""
  result = subprocess.run(
    [sys.executable, '-m', 'moe_lite.train', '--gin_file=runs/finetune.gin'],
    cwd=ROOT,
    env={**os.environ, 'PYTHONPATH': str(ROOT)},
    capture_output=True,
    text=True,
  )
  assert result.returncode == 2
  assert not result.stdout
  (line,) = result.stderr.splitlines()
  assert line.startswith('error: ')


@pytest.mark.parametrize('macro', ['MODEL_DIR', 'EVAL_OUTPUT_DIR'])
def test_a_folder_in_use_is_refused_before_anything_else(tmp_path, macro):
  argv = ['x', '--gin_file=no/such.gin', f'--gin.{macro}={str(tmp_path)!r}']
  with (
    locks.owned(str(tmp_path), macro, 'A training'),
    pytest.raises(UserError, match=f'{macro} = .* is in use. A training'),
  ):
    cli.configure(argv, 'training.train', FILES[-1])
  with pytest.raises(UserError, match='no/such.gin'):
    cli.configure(argv, 'training.train', FILES[-1])
