"""The programs that a configured run would compile, made from shapes alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from moe_lite.core import parameters, partitioning
from moe_lite.core.errors import UserError
from moe_lite.core.features import ENCODER_INPUTS, INPUTS_EMBEDDING
from moe_lite.models import layout
from moe_lite.preflight import flops
from moe_lite.preflight.program import Program
from moe_lite.training import plan

TRAIN, EVAL = 'training.train', 'evaluation.evaluate'


def programs(
  entry: str, arguments: Mapping[str, Any], devices: Sequence[Any]
) -> list[Program]:
  """Makes the programs of a run for these devices.

  Args:
    entry: the entry point, `TRAIN` or `EVAL`.
    arguments: what gin binds to the entry point.
    devices: the devices of the mesh.

  Raises:
    UserError: if the mesh does not divide the batch or the parameters.
  """
  return (_train if entry == TRAIN else _eval)(arguments, devices)


def _train(
  arguments: Mapping[str, Any], devices: Sequence[Any]
) -> list[Program]:
  dataset, model = arguments['dataset'], arguments['model']
  given = ('optimizer', 'schedule', 'trainable', 'base_dtype')
  optional = ('mesh', 'fully_sharded', 'microbatches')
  made = plan.plan(
    model=model,
    batch_size=dataset.batch_size,
    lengths=dataset.task_feature_lengths,
    packing=dataset.packing,
    devices=devices,
    **{name: arguments[name] for name in given},
    **{name: arguments[name] for name in optional if name in arguments},
  )
  return [
    Program(
      name='train step',
      function=made.step,
      arguments=(made.state, made.base, made.batch),
      compile=made.compile,
      parts={
        'base': made.base,
        'trainable': made.state.trainable,
        'optimizer': made.state.optimizer,
        'batch': made.batch,
      },
      least_flops=dataset.batch_size
      * flops.training(
        model.module.config,
        dataset.task_feature_lengths['inputs'],
        dataset.task_feature_lengths['targets'],
        is_full=arguments['trainable'] == parameters.EVERYTHING,
      ),
      rows=dataset.batch_size,
      tokens=dataset.batch_size * sum(dataset.task_feature_lengths.values()),
      mesh=tuple(made.where.mesh.devices.shape),
    )
  ]


def _eval(
  arguments: Mapping[str, Any], devices: Sequence[Any]
) -> list[Program]:
  model, rows = arguments['model'], arguments['batch_size']
  lengths = arguments['task_feature_lengths']
  mesh = partitioning.make_mesh(arguments.get('mesh'), devices)
  if rows % mesh.shape['data']:
    raise UserError(
      f'BATCH_SIZE = {rows} must be a multiple of the data axis of the mesh, '
      f'{mesh.shape["data"]}.'
    )
  where = layout.layout(
    model,
    parameters.EVERYTHING,
    mesh,
    arguments.get('fully_sharded', False),
  )
  params = where.hold(arguments['base_dtype'])
  base, trained = (
    where.hold(arguments['base_dtype'], leaving_out=left_out)
    for left_out in (parameters.TRAINABLE_ADAPTERS, parameters.ALL_BUT_ADAPTERS)
  )
  split = partitioning.batch_sharding(mesh)

  def ids(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((rows, *shape), jnp.int32, sharding=split)

  # Choices that are as long as they may be are scored one at a time.
  sources, targets = ids(lengths['inputs']), ids(1, lengths['targets'])
  inputs = {ENCODER_INPUTS: sources}
  if INPUTS_EMBEDDING in lengths:
    inputs[INPUTS_EMBEDDING] = jax.ShapeDtypeStruct(
      (rows, lengths[INPUTS_EMBEDDING]), jnp.float32, sharding=split
    )
  config = model.module.config
  encoded = jax.ShapeDtypeStruct(
    (*sources.shape, config.emb_dim), config.dtype, sharding=split
  )
  calls = {
    'encode': (
      model.encode,
      (params, inputs),
      split,
      flops.encoder(config, lengths['inputs']),
    ),
    'score': (
      model.score_choices,
      (params, encoded, inputs, targets, targets),
      partitioning.replicated(mesh),
      flops.decoder(config, lengths['inputs'], lengths['targets']),
    ),
  }
  made = []
  for name, (function, taken, out, least) in calls.items():

    def compile_it(function=function, taken=taken, out=out):
      with partitioning.axis_rules(mesh):
        return jax.jit(function, out_shardings=out).lower(*taken).compile()

    made.append(
      Program(
        name=name,
        function=function,
        arguments=taken,
        compile=compile_it,
        parts={'base': base, 'trainable': trained, 'batch': taken[1:]},
        least_flops=rows * (least.weights + least.attention),
        rows=rows,
        tokens=rows * lengths['inputs' if name == 'encode' else 'targets'],
        mesh=tuple(mesh.devices.shape),
      )
    )
  return made
