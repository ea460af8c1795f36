"""The training loop: the base stays, and adapters move.

The same command, run again, goes on from the last checkpoint. Its data, its
randomness and its result are those of a run that was never interrupted.
"""

import dataclasses
import functools
import signal
import time
from collections.abc import Sequence

import jax
from etils import epath

from moe_lite.adapters.merged import Merging
from moe_lite.checkpoints import run_items
from moe_lite.checkpoints.description import NO_BASE, check_same
from moe_lite.checkpoints.run_checkpoints import Checkpoints
from moe_lite.core import locks, memory, parameters, partitioning
from moe_lite.core.errors import UserError
from moe_lite.core.progress import say
from moe_lite.data.batches import Batches, open_first, with_shards
from moe_lite.data.dataset import Dataset, check, tasks_known
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.process import distributed, endings, interrupts
from moe_lite.t5.description import describe_run
from moe_lite.t5.tasks import check_experts, check_tasks
from moe_lite.training import (
  beginning,
  next_command,
  rates,
  run_folder,
  starting,
  train_step,
  validating,
  warm_start,
)
from moe_lite.training.curve import training_curve
from moe_lite.training.loggers import LoggerFactory, tensorboard
from moe_lite.training.optimizers import OptimizerFactory, Schedule
from moe_lite.training.plan import compile_plan
from moe_lite.training.recorder import Recorder


@locks.owning('model_dir', 'MODEL_DIR', 'A training')
def train(
  model: EncoderDecoderModel,
  model_dir: str,
  dataset: Dataset,
  optimizer: OptimizerFactory,
  schedule: Schedule,
  train_steps: int,
  trainable: str = parameters.TRAINABLE_ADAPTERS,
  initial_checkpoint_path: str | None = None,
  initial_adapters: str | None = None,
  expert_noise: float = 0.0,
  merge: str | None = None,
  merge_density: float | None = None,
  base_dtype: str = 'bfloat16',
  mesh: partitioning.MeshShape = None,
  fully_sharded: bool = False,
  microbatches: int = 1,
  seed: int = 0,
  log_period: int = 100,
  save_period: int = 1000,
  keep: int | None = 3,
  allow_changes: bool = False,
  validation: validating.Validation | None = None,
  best_by: str | None = None,
  patience: int | None = None,
  loggers: Sequence[LoggerFactory] = (tensorboard,),
) -> None:
  """Trains the run in a folder, from its start or from its last checkpoint.

  Args:
    model: the network and its losses.
    model_dir: the folder of the run; see `run_folder` for what it holds.
    dataset: what to train on.
    optimizer: makes the optimizer of a schedule.
    schedule: maps the number of a step to a learning rate.
    train_steps: how many steps the whole run has. With 0, the run only begins:
      its checkpoint holds the adapters that it began with.
    trainable: a regular expression over whole paths. What matches trains; see
      `parameters.split`.
    initial_checkpoint_path: the base; see `checkpoints.bases.load_base` for
      what it may be. None if everything trains, from random values.
    initial_adapters: adapters to begin with; see `initial_adapters.read` for
      what they may be. None draws them.
    expert_noise: the standard deviation, relative to each number, of what is
      added to copies of an expert.
    merge: how one expert is made of all experts of `initial_adapters`, if they
      are a mixture or a library; one of `merging.METHODS`. None refuses that.
    merge_density: the share of numbers that sparse methods keep.
    base_dtype: the type in which the frozen base is held, one of
      `quantization.BASE_DTYPES`.
    mesh: the shape (data, model) of the mesh. None puts every device on `data`.
      'auto' takes the first of `meshes.meshes` on which a step fits.
    fully_sharded: whether the base is also split over `data`.
    microbatches: how many parts of a batch are worked through in turn. More
      parts take less memory.
    seed: the seed of initial values, dropout, routers and data.
    log_period: how many steps lie between two lines of metrics.
    save_period: how many steps lie between two checkpoints.
    keep: how many of the last checkpoints are kept. None keeps all.
    allow_changes: whether a run may go on with other data or another schedule
      than it had.
    validation: measures the run while it trains; see `evaluation.validation`.
    best_by: a metric of the validation, one of `validating.METRICS`. The best
      checkpoint by it is kept besides the last ones.
    patience: after how many validations without a better one training ends.
      None takes all steps.
    loggers: make what metrics are written to besides the run's files.

  Raises:
    UserError: if the configuration asks for what is not possible.
    Diverged: if a loss, a gradient or an update is not finite. The steps before
      it are saved as ever. If none is, and the base is frozen, the beginning is
      saved as step 0.
    interrupts.Interrupted: on Ctrl-C or SIGTERM, after a checkpoint is written.
  """
  # Check what is asked for, before anything runs.
  begins_only = train_steps == 0 and initial_adapters is not None
  merging = None if merge is None else Merging(merge, merge_density)
  _check_positive(
    TRAIN_STEPS=1 if begins_only else train_steps,
    BATCH_SIZE=dataset.batch_size,
    MICROBATCHES=microbatches,
    LOG_PERIOD=log_period,
    SAVE_PERIOD=save_period,
  )
  choosing = validating.Choosing(best_by, patience)
  run_folder.check(model_dir)
  check(dataset, model.module.config.vocab_size)

  # See what an earlier command has done.
  with Checkpoints(model_dir, keep) as checkpoints:
    method = describe_run(model.module.config, trainable)
    before = starting.find_before(model_dir, checkpoints, method)
    lines = run_folder.validations(model_dir, before.step if before else 0)
    is_over = choosing.is_over(lines)
    if before is not None and (before.step >= train_steps or is_over):
      end = f'all {before.step} steps are done'
      if is_over:
        end = f'no better {best_by} was found until step {before.step}'
      say(f'{model_dir}: {end}, and nothing is left to do.')
      _say_results(model_dir, choosing.result(lines), model, dataset)
      return
    dataset = with_shards(dataset, before and before.data_shards)
    settings = {
      **starting.settings_of(model, schedule),
      'INITIAL_ADAPTERS': initial_adapters,
      'EXPERT_NOISE': expert_noise,
      'MERGE': merge,
      'MERGE_DENSITY': merge_density,
    }
    read_adapters = functools.cache(
      lambda: warm_start.read(
        initial_adapters, model, expert_noise, seed, merging
      )
    )
    if before is None:
      read_adapters()  # Mistakes show before anything is compiled.
    else:
      starting.check_unchanged(
        model_dir,
        before,
        starting.describe(method, NO_BASE, dataset, seed, settings),
        allow_changes,
      )
    endings.tell_saved(lambda: _describe_saved(model_dir, checkpoints))

    # Read a batch, then compile the step, then read the base: mistakes show
    # the sooner.
    starting.check_base(initial_checkpoint_path, model, trainable)
    vocab_size = model.module.config.vocab_size
    opened = open_first(dataset, seed, vocab_size)
    lengths = dataset.task_feature_lengths
    known = tasks_known(dataset)
    tasks = known['names'] if known else []
    check_tasks(model.module.config, known)
    on_mesh = None
    if validation is not None:
      reads_task = 'task' in model.module.config.context_needs
      on_mesh = validation.prepare(
        model, lengths, best_by, known if reads_task else None
      )
    began = time.monotonic()
    planned, program = compile_plan(
      mesh,
      fully_sharded,
      model=model,
      batch_size=dataset.batch_size,
      lengths=lengths,
      packing=dataset.packing,
      optimizer=optimizer,
      schedule=schedule,
      trainable=trainable,
      base_dtype=base_dtype,
      microbatches=microbatches,
      num_tasks=len(tasks),
      num_choices=dataset.num_choices,
    )
    where = planned.where
    measure = None if on_mesh is None else on_mesh(where.mesh)
    compile_seconds = time.monotonic() - began

    # Load what the run begins with: the base, a state, and a place in the data.
    base, loaded, info = beginning.load_base(
      initial_checkpoint_path, where, trainable, base_dtype, model.module.config
    )
    batches = Batches(dataset, where.mesh, seed, vocab_size, opened)
    description = starting.describe(method, info, dataset, seed, settings)

    start = beginning.Start(
      model, planned, trainable, seed, read_adapters, loaded
    )
    restored = before and beginning.restore(
      model_dir,
      checkpoints,
      before,
      planned.state,
      parameters.adapters_of(planned.base),
      batches,
      description,
    )
    if restored:
      state, fixed, before = restored
      stages = starting.stages_of(model_dir, before, description)
    else:
      before, stages = None, None
      if (taken := read_adapters()) is not None:
        check_same(taken.source, taken.base, info)
        check_experts(taken.source, taken.tasks, model.module.config, known)
        stages = taken.stages
        say(str(taken))
      state, fixed = start.state()
    base = parameters.merge(fixed, base)
    description = dataclasses.replace(description, stages=stages or None)
    batch = next(batches)

    # Describe the run, on the terminal and in its folder.
    trained, frozen = parameters.split(where.abstract, trainable)
    say(
      parameters.overview(where.abstract, trainable),
      f'base: {info.source} (fingerprint {info.fingerprint}), {base_dtype}',
      f'mesh: {dict(where.mesh.shape)} of {jax.devices()[0].device_kind}',
      f'run: {model_dir}, '
      + (f'resumed at step {before.step}' if before else 'begun at step 0'),
      f'compiled in {compile_seconds:.1f} s',
    )
    is_slow = rates.warning(schedule, train_steps)
    if is_slow and not begins_only:
      say(is_slow)
    run_folder.write_config(model_dir)
    run_folder.write_run(
      model_dir,
      {
        **description.of_run(),
        **({'task_names': tasks} if tasks else {}),
        'trainable_parameters': parameters.count(trained),
        'base_parameters': parameters.count(frozen),
        'seed': seed,
        'train_steps': train_steps,
        'mesh': dict(where.mesh.shape),
        'base_dtype': base_dtype,
        'activation_dtype': model.module.config.dtype.name,
        'scan_layers': model.module.config.scan_layers,
        'step_bytes': memory.usage(program).total,
      },
    )

    is_base_frozen = initial_checkpoint_path is not None and not loaded

    def last_saved() -> int | None:
      """The last checkpoint of a run that diverges: at least its beginning."""
      if checkpoints.last_saved() is None and is_base_frozen:
        start.save(checkpoints, description)
      return checkpoints.last_saved()

    # Take the steps.
    # The first process writes this file from now on.
    lines = run_folder.validations(model_dir, before.step if before else 0)
    distributed.meet('ready to train')
    done = before.step if before else 0
    reductions = {**train_step.REDUCTIONS, **model.reductions}
    recorder = Recorder(
      model_dir,
      batch,
      reductions,
      done,
      train_steps,
      log_period,
      last_saved,
      before.description.metrics if before else None,
      lines,
      loggers,
      tasks,
    )

    def validate() -> bool:
      """Measures the present parameters if it is time; says whether."""
      if measure is None or not validation:
        return False
      if done % validation.period and done != train_steps:
        return False
      recorder.check(done)
      params = parameters.merge(state.trainable, base)
      recorder.add_validation(done, measure(params))
      return True

    try:
      with interrupts.catch_signals() as caught:
        if not done:
          validate()
        if begins_only:
          start.save(checkpoints, description)
        while done < train_steps:
          state, values = program(state, base, batch)
          done += 1
          recorder.add(done, values)
          is_chosen = validate() and best_by is not None
          is_over = choosing.is_over(recorder.validations)
          stop = bool(caught) or checkpoints.reached_preemption(done)
          is_last = done == train_steps or is_over
          if stop or is_last or is_chosen or done % save_period == 0:
            recorder.check(done)
            checkpoints.save(
              done,
              parameters.merge(state.trainable, fixed),
              beginning.beside_trainable(state),
              batches.position(),
              dataclasses.replace(
                description, batches=batches.count, metrics=recorder.state()
              ),
              choosing.best_step(recorder.validations),
            )
          if is_over:
            say(
              f'Stopped at step {done}: {patience} validations in turn were '
              f'not better in {best_by}.'
            )
            break
          if stop and done < train_steps:
            checkpoints.wait()
            raise interrupts.Interrupted(
              f'Stopped at step {done} of {train_steps}, which is saved in '
              f'{model_dir}. Run the same command again to go on.',
              caught[0] if caught else signal.SIGTERM,
            )
          if done < train_steps:
            batch = next(batches)
    finally:
      recorder.close()
    checkpoints.wait()

    # Draw the curve, and say where everything is.
    if jax.process_index() == 0 and not begins_only:
      training_curve(model_dir)
    best = choosing.result(recorder.validations)
    _say_results(model_dir, best, model, dataset)


def _check_positive(**values: int) -> None:
  """Raises UserError unless all values are positive whole numbers.

  Args:
    **values: the value of each macro.
  """
  for name, value in values.items():
    if not isinstance(value, int) or value < 1:
      raise UserError(f'{name} = {value!r} must be a positive whole number.')


def _describe_saved(model_dir: str, checkpoints: Checkpoints) -> str:
  """Returns a sentence on what of a run is on disk."""
  step = checkpoints.latest_step()
  if step is None:
    return f'No checkpoint is saved in {model_dir} yet.'
  return f'Everything up to step {step} is saved in {model_dir}.'


def _say_results(
  model_dir: str, best: str | None, model: EncoderDecoderModel, data: Dataset
) -> None:
  """Prints where the results are, which is the best, and what to run next."""
  files = [run_folder.CONFIG, f'{run_items.FOLDER}/']
  if (epath.Path(model_dir) / run_folder.METRICS).exists():
    files = [run_folder.CURVE, run_folder.METRICS, *files]
  say(
    *([best] if best else []),
    f'Results are in {model_dir}: {", ".join(files)}.',
    *next_command.lines(
      model_dir,
      data.mixture_or_task_name
      if 'task' in model.module.config.context_needs
      else None,
    ),
  )
