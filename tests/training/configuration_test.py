"""What a run was configured with: its JSON tells, and its gin is not run."""

import dataclasses
import json
import sys

import pytest

from moe_lite.checkpoints import runs
from moe_lite.checkpoints.run_checkpoints import Checkpoints
from moe_lite.convert import command
from moe_lite.core.errors import UserError
from moe_lite.data.dataset import Dataset
from moe_lite.process import cli
from moe_lite.training import configuration
from tests import tiny_run

DATA = Dataset('mini_kinds_choose', tiny_run.LENGTHS, 4, data_shards=1)


def write(folder, **changes):
  """A run that says what it read."""
  _, run = tiny_run.write(folder)
  tree, said = runs.restore_trainable(run)
  said = dataclasses.replace(
    said, **{'data': {**dataclasses.asdict(DATA), 'seed': 0}, **changes}
  )
  checkpoints = Checkpoints(run)
  checkpoints.save(8, tree, {'count': 0}, {}, said)
  checkpoints.close()
  return run


def test_a_run_tells_what_it_was_configured_with(tmp_path):
  run = write(tmp_path)
  bound = configuration.read_config(run)
  assert bound['dataset'] == DATA
  assert bound['initial_checkpoint_path'] == str(tmp_path / 'base')
  config = bound['model'].module.config
  assert config.standing()['key'].num_experts == 2
  assert (config.dtype.name, config.scan_layers) == ('float32', False)
  (tmp_path / 'run' / 'run.json').write_text(
    json.dumps({'activation_dtype': 'bfloat16', 'scan_layers': True})
  )
  config = configuration.read_config(run)['model'].module.config
  assert (config.dtype.name, config.scan_layers) == ('bfloat16', True)


EVIL = 'import evil\n'


@pytest.mark.parametrize('verb', ['export', 'export_t5x', 'collapse'])
def test_code_in_a_folder_does_not_run(tmp_path, monkeypatch, verb):
  run = write(tmp_path)
  (tmp_path / 'evil.py').write_text(
    f'open({str(tmp_path / "ran")!r}, "w").close()\n'
  )
  monkeypatch.syspath_prepend(str(tmp_path))
  monkeypatch.delitem(sys.modules, 'evil', raising=False)
  (tmp_path / 'run' / 'config.gin').write_text(EVIL)
  argv = ['convert', verb, run]
  cli.guard(command.convert, [*argv, f'--to={tmp_path}/to'], '')
  assert not (tmp_path / 'ran').exists()
  with pytest.raises(UserError):
    configuration.read_config(run, [f'{run}/config.gin', '/no/such.gin'])
  assert (tmp_path / 'ran').exists()


@pytest.mark.parametrize(
  'changes, says',
  [
    ({'data': None}, 'does not say its data'),
    (
      {'data': {**dataclasses.asdict(DATA), 'mixture_or_task_name': 'theirs'}},
      "'theirs' is not a task or mixture of this package",
    ),
    ({'data': {'batch_size': 3}}, 'mixture_or_task_name'),
  ],
)
def test_what_a_run_does_not_say_is_asked_for(tmp_path, changes, says):
  run = write(tmp_path, **changes)
  with pytest.raises(UserError, match=f'{says}.*--gin_file={run}/config.gin'):
    configuration.read_config(run)


@pytest.mark.parametrize('text', ['[1]', '{', '"x"'])
def test_a_damaged_run_json_is_named(tmp_path, text):
  run = write(tmp_path)
  (tmp_path / 'run' / 'run.json').write_text(text)
  with pytest.raises(UserError, match='run.json'):
    configuration.read_config(run)
