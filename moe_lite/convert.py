"""Converts between forms of parameters on disk.

  python -m moe_lite.convert inspect PATH

prints what a base, a run, exported adapters, a T5X checkpoint or a model of
Hugging Face's holds.

  python -m moe_lite.convert export_base RUN --to=DIR [--dtype=bfloat16]
      [--step=N]

makes a base of a run that trained every parameter, such as one of
gin/runs/pretrain.gin; `--gin.INITIAL_CHECKPOINT_PATH="'DIR'"` then names it.

  python -m moe_lite.convert export RUN --to=DIR [--step=N]

writes what a run trained as a small folder to hand on: safetensors, a
description with the base's fingerprint, and a model card. CHECKPOINT_PATH takes
it as it is;

  python -m moe_lite.convert import DIR --to=RUN

makes a run folder of it again, bit for bit.

  python -m moe_lite.convert export_t5x RUN --to=DIR/checkpoint_STEP [--step=N]
      [--scan_layers]

writes what a run trained as a T5X checkpoint, which t5x/eval.gin and
t5x/infer.gin read onto the base; --scan_layers for a network that scans.

  python -m moe_lite.convert export_hf RUN_OR_BASE --to=DIR [--dtype=bfloat16]
      [--step=N]

writes a base, or a run that trained every parameter, as a folder that
transformers' T5ForConditionalGeneration.from_pretrained loads, in the types it
is held in or in one. There is no tokenizer in it. A base without a config.json
is taken for T5's: GELU where its hidden layer is gated, ReLU where it is not.
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from absl import flags
from etils import epath

from moe_lite import cli, parameters, run_folder
from moe_lite.checkpoints import (
  base,
  folders,
  hugging_face,
  inspection,
  own,
  portable,
  t5x,
)
from moe_lite.errors import UserError, nearest
from moe_lite.progress import say
from moe_lite.t5 import T5Config


def export_base(arguments: Sequence[str]) -> None:
  """See the module's docstring; raises UserError for a mistake."""
  values = flags.FlagValues()
  flags.DEFINE_string('to', None, 'Folder to write; must not exist.', values)
  flags.DEFINE_enum('dtype', 'bfloat16', base.DTYPES, 'To write in.', values)
  flags.DEFINE_integer(
    'step', None, 'Of a checkpoint; the last.', flag_values=values
  )
  run = _one_run('export_base', arguments, values)
  leaves, description = base.read_run(run, values.step)
  params = parameters.cast(
    parameters.unflatten(leaves), jnp.dtype(values.dtype)
  )
  base.save_base(
    values.to,
    params,
    {
      'run': run,
      'step': description['step'],
      'data': description.get('data'),
      'dtype': values.dtype,
    },
  )
  say(f'Wrote {values.to}: {parameters.count(params):,} parameters.')


def inspect(arguments: Sequence[str]) -> None:
  """See the module's docstring; raises UserError for a mistake."""
  if len(arguments) != 1:
    raise UserError('Give one path. See --help.')
  print(inspection.text(arguments[0], inspection.inspect(arguments[0])))


def export(arguments: Sequence[str]) -> None:
  """See the module's docstring; raises UserError for a mistake."""
  values = flags.FlagValues()
  flags.DEFINE_string('to', None, 'Folder to write.', flag_values=values)
  flags.DEFINE_integer('step', None, 'Of a checkpoint.', flag_values=values)
  run = _one_run('export', arguments, values)
  trained, description = own.restore_trainable(run, values.step)
  bound = run_folder.read_config(run)
  network = bound['model'].module.config
  sizes = {
    field.name: getattr(network, field.name)
    for field in dataclasses.fields(network)
    if isinstance(getattr(network, field.name), int | float | tuple)
  }
  dataset = bound['dataset']
  training = {
    'steps': description['step'],
    'data': dataset.mixture_or_task_name,
    'batch size': dataset.batch_size,
    'run': run,
  }
  portable.save(values.to, trained, description, sizes, training)
  say(f'Wrote {values.to}: {parameters.count(trained):,} parameters.')


def import_(arguments: Sequence[str]) -> None:
  """See the module's docstring; raises UserError for a mistake."""
  values = flags.FlagValues()
  flags.DEFINE_string('to', None, 'Folder to write.', flag_values=values)
  folder = _one_run('import', arguments, values)
  if not portable.is_portable(folder):
    raise UserError(f'{folder} holds no adapters that `export` wrote.')
  trained, description = portable.load(folder)
  with folders.new(values.to) as partial:
    checkpoints = own.Checkpoints(str(partial))
    # Nothing of the loop's: a run that trains on begins its optimizer anew.
    nothing = {'imported': np.zeros((), np.int32)}
    checkpoints.save(description['step'], trained, nothing, {}, description)
    checkpoints.close()
  say(f'Wrote {values.to}: {parameters.count(trained):,} parameters.')


def export_t5x(arguments: Sequence[str]) -> None:
  """See the module's docstring; raises UserError for a mistake."""
  values = flags.FlagValues()
  flags.DEFINE_string('to', None, 'Folder to write.', flag_values=values)
  flags.DEFINE_integer('step', None, 'Of a checkpoint.', flag_values=values)
  flags.DEFINE_bool('scan_layers', False, 'Stacked.', flag_values=values)
  run = _one_run('export_t5x', arguments, values)
  trained, description = own.restore_trainable(run, values.step)
  form = parameters.like_network(trained, values.scan_layers)
  t5x.write(values.to, parameters.flatten(form), description['step'])
  say(f'Wrote {values.to}: {parameters.count(trained):,} parameters.')


def export_hf(arguments: Sequence[str]) -> None:
  """See the module's docstring; raises UserError for a mistake."""
  values = flags.FlagValues()
  flags.DEFINE_string('to', None, 'Folder to write; must not exist.', values)
  flags.DEFINE_enum('dtype', None, base.DTYPES, 'To write in.', values)
  flags.DEFINE_integer('step', None, 'Of a checkpoint.', flag_values=values)
  source = base.local(_one_run('export_hf', arguments, values))
  if own.is_run_folder(source):
    leaves, _ = base.read_run(source, values.step)
  elif values.step is not None:
    raise UserError(f'--step is of a run, and {source!r} is none.')
  else:
    leaves = base.read(source)
  if values.dtype:
    leaves = {x: leaf.astype(values.dtype) for x, leaf in leaves.items()}
  network = _network(source, leaves)
  hugging_face.write(values.to, leaves, network)
  say(
    f'Wrote {values.to}: {parameters.count(list(leaves.values())):,} '
    f'parameters, mlp_activations {network.mlp_activations}.'
  )


def _network(source: str, leaves: Mapping[str, np.ndarray]) -> T5Config:
  """The network of a run or a base, by what it says or by its leaves."""
  if hugging_face.is_checkpoint(source):
    return hugging_face.network(source)
  if (epath.Path(source) / run_folder.CONFIG).exists():
    return run_folder.read_config(source)['model'].module.config
  return hugging_face.infer(leaves)


def _one_run(
  verb: str, arguments: Sequence[str], values: flags.FlagValues
) -> str:
  """The run that a verb's arguments name; fills in the flags."""
  try:
    _, *runs = values([verb, *arguments])
  except flags.Error as error:
    raise UserError(f'{error} See --help.') from error
  if len(runs) != 1 or not values.to:
    raise UserError('Give one folder and --to=DIR. See --help.')
  return runs[0]


VERBS = {
  'inspect': inspect,
  'export': export,
  'import': import_,
  'export_base': export_base,
  'export_t5x': export_t5x,
  'export_hf': export_hf,
}


def convert(argv: Sequence[str]) -> None:
  """Runs the verb that the command line names."""
  verb = argv[1] if len(argv) > 1 else ''
  if verb not in VERBS:
    raise UserError(
      f'{verb!r} is no conversion; there is {", ".join(VERBS)}.'
      f'{nearest(verb, VERBS)} See --help.'
    )
  VERBS[verb](argv[2:])


if __name__ == '__main__':
  sys.exit(cli.guard(convert, sys.argv, __doc__))
