"""The programs that a configured run would compile, made from shapes alone."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from moe_lite import data
from moe_lite.core import parameters, partitioning
from moe_lite.core.errors import UserError
from moe_lite.core.features import (
  DECODER_INPUTS,
  DECODER_TARGETS,
  ENCODER_INPUTS,
  INPUTS_EMBEDDING,
)
from moe_lite.models import decoding, layout
from moe_lite.preflight import flops
from moe_lite.preflight.program import Program
from moe_lite.training import plan

TRAIN, EVAL = 'training.train', 'evaluation.evaluate'
INFER = 'inference.infer'


def programs(
  entry: str, arguments: Mapping[str, Any], devices: Sequence[Any]
) -> list[Program]:
  """Makes the programs of a run for these devices.

  Args:
    entry: the entry point, `TRAIN`, `EVAL` or `INFER`.
    arguments: what gin binds to the entry point.
    devices: the devices of the mesh.

  Raises:
    UserError: if the mesh does not divide the batch or the parameters.
  """
  made = {TRAIN: _train, EVAL: _eval, INFER: _infer}
  return made[entry](arguments, devices)


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
    num_tasks=len(data.task_names(dataset)) if dataset.task_ids else 0,
    num_choices=dataset.num_choices,
    **{name: arguments[name] for name in given},
    **{name: arguments[name] for name in optional if name in arguments},
  )
  step = [
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
      tokens=made.batch[ENCODER_INPUTS].size + made.batch[DECODER_TARGETS].size,
      mesh=tuple(made.where.mesh.devices.shape),
    )
  ]
  validation = arguments.get('validation')
  if validation is None or validation.mixture_or_task_name is None:
    return step
  loaded = _Loaded(
    {
      **arguments,
      'batch_size': validation.batch_size,
      'task_feature_lengths': dataset.task_feature_lengths,
    },
    devices,
  )
  return step + [
    dataclasses.replace(
      program,
      name=f'validation: {program.name}',
      held={'optimizer': made.state.optimizer},
    )
    for program in _ranking(loaded)
  ]


class _Loaded:
  """What evaluation and inference hold, and what they take for a batch.

  Attributes:
    params: the parameters.
    parts: the base and what was trained, apart.
    split: the sharding of a batch.
    inputs: a batch of inputs of the greatest length.
  """

  def __init__(self, arguments: Mapping[str, Any], devices: Sequence[Any]):
    self.model, self.rows = arguments['model'], arguments['batch_size']
    self.lengths = lengths = arguments['task_feature_lengths']
    self.mesh = partitioning.make_mesh(arguments.get('mesh'), devices)
    if self.rows % self.mesh.shape['data']:
      raise UserError(
        f'BATCH_SIZE = {self.rows} must be a multiple of the data axis of the '
        f'mesh, {self.mesh.shape["data"]}.'
      )
    where = layout.layout(
      self.model,
      parameters.EVERYTHING,
      self.mesh,
      arguments.get('fully_sharded', False),
    )
    hold = functools.partial(where.hold, arguments['base_dtype'])
    self.params = hold()
    self.parts = {
      'base': hold(leaving_out=parameters.TRAINABLE_ADAPTERS),
      'trainable': hold(leaving_out=parameters.ALL_BUT_ADAPTERS),
    }
    self.split = partitioning.batch_sharding(self.mesh)
    self.inputs = {ENCODER_INPUTS: self.batch(lengths['inputs'])}
    if INPUTS_EMBEDDING in lengths:
      size = lengths[INPUTS_EMBEDDING]
      self.inputs[INPUTS_EMBEDDING] = self.batch(size, dtype=jnp.float32)

  def batch(self, *shape: int, dtype: Any = jnp.int32) -> jax.ShapeDtypeStruct:
    """Returns the shape of an array with a row for each input."""
    shape = (self.rows, *shape)
    return jax.ShapeDtypeStruct(shape, dtype, sharding=self.split)

  def program(
    self,
    name: str,
    function: Callable[..., Any],
    taken: tuple[Any, ...],
    tokens: int,
    least: int,
    out: Any = None,
    loops: int = 1,
  ) -> Program:
    """Returns a program.

    Args:
      name: its name.
      function: what it computes of the parameters and `taken`.
      taken: the shapes of its other arguments.
      tokens: the positions of a row that it is for.
      least: the operations that a row needs at least.
      out: the sharding of its results; None has every device hold all.
      loops: how often its `while_loop` runs, if it has one.
    """
    out = partitioning.replicated(self.mesh) if out is None else out

    def compile_it() -> Any:
      with partitioning.axis_rules(self.mesh):
        jitted = jax.jit(function, out_shardings=out)
        return jitted.lower(self.params, *taken).compile()

    return Program(
      name=name,
      function=function,
      arguments=(self.params, *taken),
      compile=compile_it,
      parts={**self.parts, 'batch': taken},
      least_flops=self.rows * least,
      rows=self.rows,
      tokens=self.rows * tokens,
      mesh=tuple(self.mesh.devices.shape),
      loops=loops,
    )


def _eval(
  arguments: Mapping[str, Any], devices: Sequence[Any]
) -> list[Program]:
  loaded = _Loaded(arguments, devices)
  return [*_ranking(loaded), _generate(loaded, arguments)]


def _infer(
  arguments: Mapping[str, Any], devices: Sequence[Any]
) -> list[Program]:
  loaded = _Loaded(arguments, devices)
  if arguments.get('mode') == 'score':
    return _ranking(loaded)
  return [_generate(loaded, arguments)]


def _ranking(loaded: _Loaded) -> list[Program]:
  """The programs that score choices."""
  model, config = loaded.model, loaded.model.module.config
  inputs, targets = (loaded.lengths[x] for x in ('inputs', 'targets'))
  encoded = loaded.batch(inputs, config.emb_dim, dtype=config.dtype)
  # Choices that are as long as they may be are scored one at a time.
  ids = loaded.batch(1, targets)
  of_encoder = flops.encoder(config, inputs)
  of_decoder = flops.decoder(config, inputs, targets)
  return [
    loaded.program(
      'encode',
      model.encode,
      (loaded.inputs,),
      inputs,
      of_encoder.weights + of_encoder.attention,
      loaded.split,
    ),
    loaded.program(
      'score',
      model.score_choices,
      (encoded, loaded.inputs, ids, ids),
      targets,
      of_decoder.weights + of_decoder.attention,
    ),
  ]


def _generate(loaded: _Loaded, arguments: Mapping[str, Any]) -> Program:
  """The program that decodes outputs, up to their greatest length."""
  decode_fn = arguments.get('decode_fn', decoding.greedy)
  beams = arguments.get('num_decodes', 1)
  has_beams = 'num_decodes' in inspect.signature(decode_fn).parameters
  options = {'num_decodes': beams} if has_beams else {}
  inputs, outputs = (loaded.lengths[x] for x in ('inputs', 'targets'))

  def generate(params: Any, batch: Any) -> jax.Array:
    starts = jnp.zeros((loaded.rows, outputs), jnp.int32)
    return loaded.model.predict_batch(
      params,
      {**batch, DECODER_INPUTS: starts},
      decode_fn=decode_fn,
      rng=jax.random.key(0),
      **options,
    )

  config = loaded.model.module.config
  return loaded.program(
    'generate',
    generate,
    (loaded.inputs,),
    outputs,
    flops.decoding(config, inputs, outputs, beams if has_beams else 1),
    loops=outputs,
  )
