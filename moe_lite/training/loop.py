"""The training loop: the base stays, adapters move.

Running the same command again resumes where its last checkpoint stands, with
the same data, randomness and result as a run that was never interrupted.
"""

import dataclasses
import re
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any

import jax
from etils import epath

from moe_lite.checkpoints import bases as base_checkpoints
from moe_lite.checkpoints import runs
from moe_lite.core import memory, parameters, partitioning, progress
from moe_lite.core.errors import UserError
from moe_lite.core.progress import say
from moe_lite.core.types import Tree
from moe_lite.data.batches import Batches, with_shards
from moe_lite.data.dataset import Dataset, check
from moe_lite.models import layout
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.process import distributed, endings, interrupts
from moe_lite.t5.config import T5Config
from moe_lite.t5.description import check_method, describe_run
from moe_lite.training import (
  next_command,
  plan,
  routing_metrics,
  run_folder,
  train_step,
)
from moe_lite.training.curve import training_curve
from moe_lite.training.meter import Meter
from moe_lite.training.optimizers import OptimizerFactory, Schedule


def train(
  model: EncoderDecoderModel,
  model_dir: str,
  dataset: Dataset,
  optimizer: OptimizerFactory,
  schedule: Schedule,
  train_steps: int,
  trainable: str = parameters.TRAINABLE_ADAPTERS,
  initial_checkpoint_path: str | None = None,
  base_dtype: str = 'bfloat16',
  mesh: partitioning.MeshShape = None,
  fully_sharded: bool = False,
  microbatches: int = 1,
  seed: int = 0,
  log_period: int = 100,
  save_period: int = 1000,
  keep: int | None = 3,
) -> None:
  """Trains, or resumes, the run in `model_dir`.

  Args:
    model: network and losses.
    model_dir: the run folder, see `run_folder`.
    dataset: what to train on.
    optimizer: makes the optimizer of the schedule.
    schedule: step to learning rate.
    train_steps: updates of what trains, from the base on.
    trainable: regular expression over whole paths, see `parameters.split`.
    initial_checkpoint_path: the base, see `checkpoints.base.load_base`; None
      where everything trains, from random values.
    base_dtype: that the frozen base is held in.
    mesh: (data, model); None puts every device on data; 'auto' takes the
      first of `plan.meshes` that fits.
    fully_sharded: split the base also over data.
    microbatches: parts that a batch is worked through in, to save memory.
    seed: of initial values, dropout, routers and data.
    log_period: steps between two lines of metrics.
    save_period: steps between two checkpoints.
    keep: how many checkpoints stay; None for all.

  Raises:
    UserError: if the configuration asks for what cannot be.
    interrupts.Interrupted: on Ctrl-C, when a checkpoint is written.
  """
  _check_positive(
    TRAIN_STEPS=train_steps,
    BATCH_SIZE=dataset.batch_size,
    MICROBATCHES=microbatches,
    LOG_PERIOD=log_period,
    SAVE_PERIOD=save_period,
  )
  if epath.Path(model_dir).is_file():
    raise UserError(f'MODEL_DIR = {model_dir!r} is a file; name a folder.')
  check(dataset, model.module.config.vocab_size)

  checkpoints = runs.Checkpoints(model_dir, keep)
  latest = checkpoints.latest_step()
  method = describe_run(model.module.config, trainable)
  recorded = None
  if latest is not None:
    saved = checkpoints.description(latest)
    # A run from before there were shards had one.
    recorded = saved['data'].get('data_shards', 1)
    check_method(model_dir, saved, method)
    if latest >= train_steps:
      say(f'{model_dir}: all {latest} steps are done; nothing is left to do.')
      _say_results(model_dir)
      checkpoints.close()
      return
  dataset = with_shards(dataset, recorded)
  endings.tell_saved(lambda: _describe_saved(model_dir, checkpoints))
  _check_base(initial_checkpoint_path, model, trainable)
  start = time.monotonic()
  planned, program = plan.compile_plan(
    mesh,
    fully_sharded,
    model=model,
    batch_size=dataset.batch_size,
    lengths=dataset.task_feature_lengths,
    packing=dataset.packing,
    optimizer=optimizer,
    schedule=schedule,
    trainable=trainable,
    base_dtype=base_dtype,
    microbatches=microbatches,
  )
  where = planned.where
  compile_seconds = time.monotonic() - start
  base, loaded, info = _load_base(
    initial_checkpoint_path,
    where,
    trainable,
    base_dtype,
    model.module.config,
  )
  state = train_step.init_state(
    model, planned.optimizer, planned.state, seed, loaded
  )
  batches = Batches(dataset, where.mesh, seed)
  stream = {
    **dataclasses.asdict(dataset),
    'task_feature_lengths': dict(dataset.task_feature_lengths),
    'seed': seed,
  }
  description = {**method, 'base': dataclasses.asdict(info), 'data': stream}
  if latest is not None:
    state = _restore(
      model_dir, checkpoints, latest, state, batches, description
    )

  batch = next(batches)

  trained, frozen = parameters.split(where.abstract, trainable)
  counts = {
    'trainable_parameters': parameters.count(trained),
    'base_parameters': parameters.count(frozen),
  }
  say(
    parameters.overview(where.abstract, trainable),
    f'base: {info.source} (fingerprint {info.fingerprint}), {base_dtype}',
    f'mesh: {dict(where.mesh.shape)} of {jax.devices()[0].device_kind}',
    f'run: {model_dir}, '
    + (f'resumed at step {latest}' if latest else 'from the start'),
    f'compiled in {compile_seconds:.1f} s',
  )
  run_folder.write_config(model_dir)
  run_folder.write_run(
    model_dir,
    {
      **description,
      **counts,
      'seed': seed,
      'train_steps': train_steps,
      'mesh': dict(where.mesh.shape),
      'base_dtype': base_dtype,
      'step_bytes': memory.usage(program).total,
    },
  )

  distributed.meet('ready to train')
  done = latest or 0
  metrics = run_folder.Metrics(model_dir, done)
  bar = progress.Progress(train_steps, done)
  meter = Meter(batch)
  alarm = routing_metrics.Alarm()

  def save() -> None:
    checkpoints.save(
      done,
      state.trainable,
      _rest(state),
      batches.position(),
      {**description, 'batches': batches.count},
    )

  try:
    with interrupts.catch_signals() as caught:
      while done < train_steps:
        state, values = program(state, base, batch)
        done += 1
        meter.add(values)
        bar.advance()
        if done % log_period == 0 or done == train_steps:
          scalars, statistics = meter.read()
          if statistics:
            routers = routing_metrics.of_routers(statistics)
            metrics.write_routing(done, routers)
            scalars |= routing_metrics.summary(routers)
            if warning := alarm.check(done, routers):
              say(warning)
          metrics.write(done, scalars)
          bar.report(loss=scalars['loss'], accuracy=scalars['accuracy'])
        stop = bool(caught) or checkpoints.reached_preemption(done)
        if stop or done % save_period == 0 or done == train_steps:
          save()
        if stop and done < train_steps:
          checkpoints.wait()
          number = caught[0] if caught else signal.SIGTERM
          raise interrupts.Interrupted(
            f'Stopped at step {done} of {train_steps}; it is saved in '
            f'{model_dir}. Run the same command again to go on.',
            number,
          )
        if done < train_steps:
          batch = next(batches)
  finally:
    bar.close()
    metrics.close()
    # Closing waits for all processes, also for one that failed.
    if jax.process_count() == 1 or sys.exception() is None:
      checkpoints.close()
  if jax.process_index() == 0:
    folder = epath.Path(model_dir)
    training_curve(folder / run_folder.METRICS, folder / run_folder.CURVE)
  _say_results(model_dir)


def _check_base(
  path: str | None, model: EncoderDecoderModel, trainable: str
) -> None:
  """Raises UserError where something is frozen, and nothing says to what."""
  if path is not None:
    return
  _, frozen = parameters.split(model.abstract_variables()['params'], trainable)
  base = [x for x in parameters.flatten(frozen) if not parameters.is_adapter(x)]
  if base:
    raise UserError(
      f'INITIAL_CHECKPOINT_PATH = None, but TRAINABLE = {trainable!r} '
      f'freezes {base[0]} and others: adapters need a pretrained base. '
      "Name one, such as 'mini', or pretrain one with runs/pretrain.gin."
    )


def _load_base(
  path: str | None,
  where: layout.Layout,
  trainable: str,
  dtype: str,
  network: T5Config,
) -> tuple[Tree, Tree, base_checkpoints.BaseInfo]:
  """The frozen base, what trains of it, and which base it is."""
  if path is None:
    return {}, {}, base_checkpoints.NO_BASE
  is_trainable = re.compile(trainable).fullmatch
  wanted = {
    **parameters.flatten(where.hold('float32')),
    **parameters.flatten(where.hold(dtype, frozen_by=trainable)),
  }
  params, info = base_checkpoints.load_base(
    path,
    parameters.unflatten(
      {x: leaf for x, leaf in wanted.items() if not parameters.is_adapter(x)}
    ),
    network,
  )
  leaves = parameters.flatten(params)
  frozen = {n: x for n, x in leaves.items() if not is_trainable(n)}
  trained = {n: x for n, x in leaves.items() if is_trainable(n)}
  return parameters.unflatten(frozen), parameters.unflatten(trained), info


def _restore(
  model_dir: str,
  checkpoints: runs.Checkpoints,
  step: int,
  state: train_step.TrainState,
  batches: Batches,
  description: Mapping[str, Any],
) -> train_step.TrainState:
  """The state of a checkpoint, with `batches` put where it stood."""
  saved = checkpoints.description(step)
  base_checkpoints.check_same(model_dir, saved['base'], description['base'])
  shapes = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.format), state
  )
  values, rest, position = checkpoints.restore(
    step, shapes.trainable, _rest(shapes), batches.shard_names()
  )
  before = {'data_shards': 1, **saved['data']}
  changed = [
    f'{name} {before.get(name)!r} is now {value!r}'
    for name, value in description['data'].items()
    if name != 'save_position' and before.get(name) != value
  ]
  if changed:
    say(
      f'The data differ from those before step {step} ({"; ".join(changed)}): '
      'they start from their beginning.'
    )
  elif not batches.restore(position, saved['batches']):
    say(f'Read {batches.count} batches again to find the place in the data.')
  return state.replace(trainable=values, **rest)


def _rest(state: train_step.TrainState) -> dict[str, Any]:
  return {
    'step': state.step,
    'optimizer': state.optimizer,
    'rng': state.rng,
  }


def _check_positive(**values: int) -> None:
  for name, value in values.items():
    if not isinstance(value, int) or value < 1:
      raise UserError(f'{name} = {value!r} must be a positive whole number.')


def _describe_saved(model_dir: str, checkpoints: runs.Checkpoints) -> str:
  step = checkpoints.latest_step()
  if step is None:
    return f'No checkpoint is saved in {model_dir} yet.'
  return f'All up to step {step} is saved in {model_dir}.'


def _say_results(model_dir: str) -> None:
  say(
    f'Results are in {model_dir}: {run_folder.CURVE}, {run_folder.METRICS}, '
    f'{run_folder.CONFIG}, {runs.FOLDER}/.',
    *next_command.lines(model_dir),
  )
