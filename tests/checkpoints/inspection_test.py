"""`convert inspect` says what a path is."""

import numpy as np
import pytest

from moe_lite import adapters
from moe_lite.checkpoints import exported, runs
from moe_lite.checkpoints.peft.folder import write
from moe_lite.checkpoints.t5x import native
from moe_lite.convert import command
from moe_lite.process import cli
from tests import tiny_run
from tests.checkpoints.hugging_face import written_files


@pytest.fixture(scope='module')
def paths(tmp_path_factory):
  folder = tmp_path_factory.mktemp('inspection')
  base, run = tiny_run.write(folder)
  exported.save(
    str(folder / 'mine'), *runs.restore_trainable(run), {'steps': 7}
  )
  leaf = {'encoder/encoder_norm/scale': np.ones(3, np.float32)}
  native.write(str(folder / 'checkpoint_5'), leaf, 5)
  state = written_files.state('1.1')
  written_files.write(folder / 'theirs', state)
  ia3 = tiny_run.model(adapters={'key': adapters.IA3}).module.config
  scales = {
    f'{stack}/layers_0/{name}/key_adapter/scale': np.ones((2, 4), np.float32)
    for stack, name in (
      ('encoder', 'attention'),
      ('decoder', 'self_attention'),
      ('decoder', 'encoder_decoder_attention'),
    )
  }
  write(str(folder / 'peft'), scales, ia3, 'org/base')
  (folder / 'nothing').mkdir()
  return folder


@pytest.mark.parametrize(
  'name, says',
  [
    ('base', ['base: base', 'fingerprint: ', 'token_embedder/embedding']),
    ('run', ['run: run', 'step: 7', 'at key: MoV(', 'key_adapter/scale']),
    ('mine', ['mine: exported adapters', 'step: 7', 'float32']),
    ('checkpoint_5', ['T5X checkpoint', 'step: 5', 'leaves: 1, 3 parameters']),
    ('peft', ["peft: IA3 of PEFT's", 'org/base', 'block.*.layer.0']),
    ('theirs', ["theirs: model of Hugging Face's", 'decoder/logits_dense']),
  ],
)
def test_it_names_kind_leaves_and_step(paths, name, says, capsys):
  argv = ['convert', 'inspect', str(paths / name)]
  assert cli.guard(command.convert, argv, None) == 0
  printed = capsys.readouterr().out
  for words in says:
    assert words in printed


def test_what_is_none_of_them_is_one_message(paths, capsys):
  argv = ['convert', 'inspect', str(paths / 'nothing')]
  assert cli.guard(command.convert, argv, None) == 2
  assert 'there is no base' in capsys.readouterr().err
