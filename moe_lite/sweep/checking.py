"""Builds every configuration of a plan, before anything runs."""

import contextlib
import dataclasses
import functools
import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import gin

from moe_lite.core import json_text, parameters
from moe_lite.core.errors import UserError
from moe_lite.data.dataset import Dataset, check_vocabulary, find
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.process import cli
from moe_lite.sweep.expansion import Command, Plan, Setting
from moe_lite.t5.description import describe_run
from moe_lite.training import run_folder

# Configurations leave out what differs between the runs of one setting.
_SAME = {'MODEL_DIR': "'MODEL_DIR'", 'SEED': '0'}
_OUTPUT = {'CHECKPOINT_PATH': "'base'", 'EVAL_OUTPUT_DIR': "'EVAL_OUTPUT_DIR'"}


@dataclasses.dataclass(frozen=True)
class Checked:
  """What the configurations of a plan say.

  Attributes:
    configurations: gin's text of each command of a setting, without folders and
      seeds. The keys are such as 'MoV, LEARNING_RATE=0.03: eval'.
    train_steps: the steps of the runs of each setting, by its name.
    counts: the numbers of trained and of base parameters of each variant.
  """

  configurations: dict[str, str]
  train_steps: dict[str, int]
  counts: dict[str, tuple[int, int]]


def check(plan: Plan, count: bool = True) -> Checked:
  """Parses every configuration, and traces every variant's parameters.

  Args:
    plan: the plan to check.
    count: whether to count parameters; otherwise `counts` stays empty.

  Raises:
    UserError: for the first mistake; it names the setting.
  """
  checked = Checked({}, {}, {})
  traced: dict[str, tuple[int, int]] = {}
  try:
    for variant, settings in plan.settings.items():
      for setting in settings:
        try:
          _check_setting(setting, plan.searches, checked)
          if count and variant not in checked.counts:
            checked.counts[variant] = _counts(setting, traced)
        except UserError as error:
          name = setting.name
          raise UserError(f'{name}: {cli.message(error)}') from error
  finally:
    gin.clear_config()
  return checked


def _check_setting(setting: Setting, searches: bool, checked: Checked) -> None:
  run = setting.runs[0]
  with tempfile.TemporaryDirectory() as folder:
    config = os.path.join(folder, run_folder.CONFIG)
    if run.train is not None:
      arguments = _configure(run.train, _SAME)
      with _gin_errors():
        _check_dataset(arguments()['dataset'], arguments()['model'])
        checked.train_steps[setting.name] = arguments()['train_steps']
      text = gin.config_str()
      checked.configurations[f'{setting.name}: {run.train.kind}'] = text
      with open(config, 'w') as file:
        file.write(text)
    commands = [run.evaluation]
    if searches and run.train is not None:
      commands.append(run.validation)
    for command in commands:
      arguments = _configure(command, _OUTPUT, config)
      with _gin_errors():
        find(arguments()['mixture_or_task_name'])
      text = gin.config_str()
      checked.configurations[f'{setting.name}: {command.kind}'] = text


def _check_dataset(dataset: Dataset, model: EncoderDecoderModel) -> None:
  # Whether the files of the data are here does not matter: the commands may be
  # printed for another machine.
  provider = find(dataset.mixture_or_task_name)
  check_vocabulary(provider, model.module.config.vocab_size)


def _configure(
  command: Command, changes: dict[str, str], config: str = ''
) -> Callable[[], dict[str, Any]]:
  """Parses the configuration of a command.

  Args:
    command: the command.
    changes: values of macros, which replace those of the command.
    config: a file that stands for the configuration that the run will write.

  Returns:
    A function that builds the arguments of the command.
  """
  argv = [command.module]
  for flag in command.flags:
    name, _, value = flag.partition('=')
    macro = name.removeprefix('--gin.')
    if macro in changes:
      flag = f'{name}={changes[macro]}'
    elif name == '--gin_file' and value.endswith(f'/{run_folder.CONFIG}'):
      flag = f'{name}={config}'
    argv.append(flag)
  entry, file = {
    'moe_lite.train': ('training.train', 'runs/finetune.gin'),
    'moe_lite.eval': ('evaluation.evaluate', 'runs/eval.gin'),
  }[command.module]
  cli.configure(argv, entry, file)
  return functools.cache(lambda: gin.get_bindings(entry))


def _counts(
  setting: Setting, traced: dict[str, tuple[int, int]]
) -> tuple[int, int]:
  """Counts the trained and the base parameters of a variant, by their shapes.

  Args:
    setting: a setting of the variant.
    traced: the numbers of the methods that were counted before, because a large
      network takes seconds; it is added to.
  """
  run = setting.runs[0]
  arguments = _configure(run.train or run.evaluation, {**_SAME, **_OUTPUT})
  with _gin_errors():
    model, trainable = arguments()['model'], arguments()['trainable']
    method = describe_run(model.module.config, trainable)
    key = json_text.dumps(method.to_json(), sort_keys=True)
    if key not in traced:
      params = model.abstract_variables()['params']
      trained, _ = parameters.split(params, trainable)
      leaves = parameters.flatten(params)
      base = [x for x in leaves if not parameters.is_adapter(x)]
      traced[key] = (
        parameters.count(trained),
        sum(leaves[x].size for x in base),
      )
  trained, base = traced[key]
  return (trained if run.train is not None else 0), base


@contextlib.contextmanager
def _gin_errors() -> Iterator[None]:
  """Makes errors of mistaken values in bindings the user's errors."""
  try:
    yield
  except UserError:
    raise
  except (TypeError, ValueError) as error:
    raise UserError(cli.message(error)) from error
