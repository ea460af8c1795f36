"""Describes what produced a result: the command, software and machine."""

import importlib.metadata
import os
import pathlib
import platform
import subprocess
import sys
from typing import Any

import jax

from moe_lite.process import shell

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


def environment() -> dict[str, Any]:
  """Returns what produced a result: the command, software and machine.

  Returns:
    The `command`; the version of each of the `packages`, None for those that
    are not installed; the version of `python`; the `commit` of the checkout, or
    None; the `device_kind`; and the number of `devices` and of `processes`.
  """
  return {
    'command': shell.line(sys.orig_argv),
    'packages': _versions(),
    'python': platform.python_version(),
    'commit': _commit(),
    'device_kind': jax.devices()[0].device_kind,
    'devices': jax.device_count(),
    'processes': jax.process_count(),
  }


def _versions() -> dict[str, str | None]:
  versions = {}
  for name in PACKAGES:
    try:
      versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      versions[name] = None
  return versions


def _commit() -> str | None:
  """Returns the commit of the checkout that runs.

  Returns:
    The commit's hash, with '+' if the checkout has changes. None if the package
    does not run from a checkout, or if git fails.
  """
  folder = pathlib.Path(__file__).parents[2]
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
