"""A checkout with the scripts, and a cloud to call them on."""

import shutil
import subprocess

import pytest

from tests.launch.cloud import LAUNCH, Cloud
from tests.paths import ROOT


@pytest.fixture(scope='session')
def checkout(tmp_path_factory):
  """A git clone with the scripts as they are now, committed or not."""
  folder = tmp_path_factory.mktemp('checkout')
  shutil.copytree(LAUNCH, folder / 'launch')
  shutil.copy(ROOT / 'setup.py', folder)
  git = ['git', '-C', str(folder), '-c', 'user.name=t', '-c', 'user.email=t@t']
  for arguments in (['init', '-q'], ['add', '.'], ['commit', '-q', '-m', 'x']):
    subprocess.run([*git, *arguments], check=True)
  return folder


@pytest.fixture
def cloud(tmp_path, checkout):
  return Cloud(tmp_path, checkout)
