"""What a training run leaves in MODEL_DIR, besides its checkpoints.

config.gin       the operative configuration: everything the run used
run.json         versions, command, device, counts, base, seed
metrics.jsonl    one JSON object a log period
routing.jsonl    likewise, of every router, with ROUTING_METRICS
loss.png         the training curve
checkpoints/     see `checkpoints.own`
events.*         the metrics again, for TensorBoard
"""

import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import gin
import jax
from etils import epath

from moe_lite import networks
from moe_lite.errors import UserError
from moe_lite.t5 import T5Config

CONFIG = 'config.gin'
RUN = 'run.json'
METRICS = 'metrics.jsonl'
ROUTING = 'routing.jsonl'
CURVE = 'loss.png'

PACKAGES = (
  'moe_lite',
  'jax',
  'jaxlib',
  'flax',
  'optax',
  'orbax-checkpoint',
  'seqio',
  'tensorflow',
  'numpy',
)


class Metrics:
  """Writes metrics as JSON lines and for TensorBoard, on one process."""

  def __init__(self, folder: str, first_step: int):
    """Args: `first_step`, from which on a resumed run writes again."""
    self._folder = epath.Path(folder)
    self._tensorboard = None
    if jax.process_index() == 0:
      # Here, because it imports TensorFlow, which reports do not need.
      from clu import metric_writers

      for name in (METRICS, ROUTING):
        _forget_from(self._folder / name, first_step)
      self._tensorboard = metric_writers.SummaryWriter(os.fspath(folder))

  def write(self, step: int, scalars: Mapping[str, float]) -> None:
    """Adds a line to `metrics.jsonl`."""
    self._write(METRICS, {'step': step, **scalars}, scalars)

  def write_routing(
    self, step: int, routers: Mapping[str, Mapping[str, Any]]
  ) -> None:
    """Adds a line to `routing.jsonl`; see `routing_metrics.of_routers`."""
    scalars = {
      f'routing/{router}/{name}': value
      for router, values in routers.items()
      for name, value in values.items()
      if not isinstance(value, list)
    }
    self._write(ROUTING, {'step': step, 'routers': routers}, scalars)

  def close(self) -> None:
    if self._tensorboard is not None:
      self._tensorboard.close()

  def _write(
    self, file: str, line: Mapping[str, Any], scalars: Mapping[str, float]
  ) -> None:
    if self._tensorboard is None:
      return
    with (self._folder / file).open('a') as stream:
      stream.write(json.dumps(line) + '\n')
    self._tensorboard.write_scalars(line['step'], dict(scalars))
    self._tensorboard.flush()


def _forget_from(path: epath.Path, first_step: int) -> None:
  """Drops what a crashed run wrote after the checkpoint it resumes from."""
  if not path.exists():
    return
  lines = path.read_text().splitlines(keepends=True)
  kept = [line for line in lines if _step(line) <= first_step]
  if kept != lines:
    replace_text(path, ''.join(kept))


def write_config(folder: str) -> None:
  """Writes what gin bound to everything used so far."""
  if jax.process_index() == 0:
    replace_text(epath.Path(folder) / CONFIG, gin.operative_config_str())


def read_config(folder: str) -> dict[str, Any]:
  """What `config.gin` of a run gives to `training.train`, built.

  Replaces gin's configuration by that of the run.

  Raises:
    UserError: if there is no run, or its configuration cannot be read.
  """
  path = epath.Path(folder) / CONFIG
  if not path.exists():
    raise UserError(
      f'{folder!r} has no {CONFIG}: give the MODEL_DIR of a training run.'
    )
  gin.clear_config()
  try:
    gin.parse_config(path.read_text())
    return gin.get_bindings('training.train')
  except (ImportError, SyntaxError, ValueError) as error:
    raise UserError(
      f'{path} cannot be read: {error}. It names the modules that its run '
      'used; install them, or run with the same PYTHONPATH.'
    ) from error


def write_run(folder: str, facts: Mapping[str, Any]) -> None:
  """Writes `run.json`: `facts`, and those of the software and machine."""
  if jax.process_index() != 0:
    return
  facts = {**facts, **environment()}
  replace_text(epath.Path(folder) / RUN, json.dumps(facts, indent=2) + '\n')


def environment() -> dict[str, Any]:
  """What produced a result: command, software and machine."""
  return {
    'command': shlex.join(sys.orig_argv),
    'packages': _versions(),
    'python': platform.python_version(),
    'commit': _commit(),
    'device_kind': jax.devices()[0].device_kind,
    'devices': jax.device_count(),
    'processes': jax.process_count(),
  }


def replace_text(path: epath.Path, text: str) -> None:
  """Replaces a file whole: a crash leaves the old one or the new one."""
  partial = path.parent / f'{path.name}.partial'
  partial.write_text(text)
  partial.replace(path)


def describe_run(config: T5Config, trainable: str) -> dict[str, Any]:
  """What a checkpoint says of its network and method; see `check_method`."""
  return {
    'trainable': trainable,
    'method': networks.describe_method(config),
    'network': networks.to_json(config),
  }


def check_method(
  run: str, saved: Mapping[str, Any], now: Mapping[str, Any]
) -> None:
  """Refuses another method, also one with parameters of the same shapes.

  Args:
    run: its folder, for the message.
    saved: the description of its checkpoint.
    now: from `describe_run`.

  Raises:
    UserError: if they differ; it says in what.
  """
  lines = []
  if saved['trainable'] != now['trainable']:
    lines.append(
      f'TRAINABLE: {saved["trainable"]!r} in the run, {now["trainable"]!r} in '
      'this command.'
    )
  for site in sorted({*saved['method'], *now['method']}):
    old, new = (x['method'].get(site, 'nothing') for x in (saved, now))
    if old != new:
      lines.append(f'ADAPTERS at {site}: {old} in the run, {new} now.')
  if lines:
    raise UserError(
      f'The run {run} trained another method than this command names:\n'
      + '\n'.join(f'  {line}' for line in lines)
      + '\nGive the methods/ and routers/ files and the macros that it was '
      f'trained with (its {CONFIG} has them), or another run.'
    )


def _versions() -> dict[str, str | None]:
  versions = {}
  for name in PACKAGES:
    try:
      versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      versions[name] = None
  return versions


def _commit() -> str | None:
  """The commit of the checkout that runs, '+' if it has changes."""
  folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
  if not os.path.exists(os.path.join(folder, '.git')):
    return None
  git = lambda *args: subprocess.run(
    ['git', '-C', folder, *args],
    capture_output=True,
    text=True,
    check=True,
    timeout=20,
  ).stdout.strip()
  try:
    changes = git('status', '--porcelain', '--untracked-files=no')
    return git('rev-parse', 'HEAD') + ('+' if changes else '')
  except (OSError, subprocess.SubprocessError):
    return None


def _step(line: str) -> float:
  try:
    return json.loads(line)['step']
  except (ValueError, KeyError):
    # The last line of a killed run may be cut off.
    return float('inf')
