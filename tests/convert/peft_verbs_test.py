"""The verbs `export_peft` and `import_peft`, there and back."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from moe_lite import adapters
from moe_lite.checkpoints import bases, exported, runs
from moe_lite.checkpoints.description import BaseInfo, Description
from moe_lite.checkpoints.hugging_face import config as configs
from moe_lite.checkpoints.peft.config import FILE
from moe_lite.checkpoints.peft.summary import WEIGHTS
from moe_lite.checkpoints.run_checkpoints import Checkpoints
from moe_lite.convert import command
from moe_lite.core import parameters
from moe_lite.process import cli
from moe_lite.t5.description import describe_run, to_json
from tests.checkpoints.hugging_face import written_files
from tests.checkpoints.peft.drawing import draw


def look(folder):
  described = json.loads((folder / FILE).read_text())
  return described, safetensors.numpy.load_file(folder / WEIGHTS)


def assert_equal(one, other):
  assert one.keys() == other.keys()
  for path, leaf in one.items():
    assert leaf.dtype == other[path].dtype
    np.testing.assert_array_equal(leaf, other[path], err_msg=path)


def write_run(folder, config, base, trained):
  checkpoints = Checkpoints(str(folder))
  trainable = jax.tree.map(jnp.asarray, parameters.unflatten(trained))
  fingerprint = parameters.fingerprint(parameters.unflatten(bases.read(base)))
  checkpoints.save(
    3,
    trainable,
    {'count': jnp.int32(3)},
    {},
    Description(
      describe_run(config, parameters.TRAINABLE_ADAPTERS),
      BaseInfo(base, fingerprint),
    ),
  )
  checkpoints.close()


def test_the_commands_there_and_back(tmp_path, capsys):
  theirs = tmp_path / 'theirs'
  written_files.write(theirs, written_files.state('1.1'))
  config = dataclasses.replace(
    configs.network(theirs),
    adapters=dict.fromkeys(('key', 'value', 'intermediate'), adapters.IA3),
  )
  trained = draw(config)
  write_run(tmp_path / 'run', config, str(theirs), trained)

  def call(*argv):
    code = cli.guard(command.convert, ['x', *argv], None)
    return code, ''.join(capsys.readouterr())

  peft_folder, back = tmp_path / 'peft', tmp_path / 'back'
  export = ('export_peft', str(tmp_path / 'run'), f'--to={peft_folder}')
  assert call(*export)[0] == 0
  assert look(peft_folder)[0]['base_model_name_or_path'] == str(theirs)
  code, printed = call(*export)
  assert code == 2 and 'exists already' in printed
  import_ = ('import_peft', str(peft_folder), f'--to={back}')
  code, printed = call(*import_)
  assert code == 2 and 'Give --base' in printed
  assert call(*import_, f'--base={theirs}')[0] == 0
  tree, description = exported.load(str(back))
  assert_equal(parameters.flatten(tree), trained)
  assert description.method.network == to_json(config)
  assert description.base == runs.describe(str(tmp_path / 'run')).base
  # And out again, from what was imported.
  assert call('export_peft', str(back), f'--to={tmp_path / "more"}')[0] == 0
  assert_equal(look(tmp_path / 'more')[1], look(peft_folder)[1])
