"""launch/tpu/on_vm.sh: a run on a VM, which is a folder here."""

import os
import subprocess
import sys
import time

import pytest

from tests.launch.cloud import PYTHON, write_executable

AWKWARD = [
  "--gin.MODEL_DIR='gs://b/run'",
  '--gin.A="it\'s"',
  "--gin.B='a  b\tc\nd'",
  "--gin.C='$HOME `ls` $(ls) \\ \\n * ? # & ; | < > ! ~ {a,b} %s'",
  "--gin.D=('ä', @x.y(), %Z)",
  *('--gin.E=', '', '~', '--'),
]


@pytest.mark.skipif(sys.platform != 'linux', reason='TPU VMs are Linux')
def test_a_run_on_a_vm_from_setup_to_stop(cloud):
  vm = cloud.folder / 'vm'
  write_executable(vm / 'bin' / 'python3.11', PYTHON)
  assert 'run: not set up' in cloud.succeed('status').stdout
  refused = cloud.run('train', '--', 'x')
  assert refused.returncode == 2 and 'Run launch/tpu/setup.sh' in refused.stderr
  cloud.succeed('setup')
  (vm / 'moe_lite' / 'old').touch()
  cloud.succeed('setup')
  assert not (vm / 'moe_lite' / 'old').exists()
  assert state(vm) == 'none'
  try:
    cloud.succeed('train', '--', *AWKWARD)
    assert 'run: running' in cloud.succeed('status').stdout
    for arguments in (['train', '--', 'x'], ['setup']):
      refused = cloud.run(*arguments)
      assert refused.returncode == 2 and 'a run is going on' in refused.stderr
    until(vm.joinpath('argv').exists)
    words = ['moe_lite.train', '--multi_host', *AWKWARD]
    summed = subprocess.check_output(['cksum'], input=lines(words))
    assert state(vm, summed.split()[0]) == 'running'
    assert state(vm, '1') == 'other'
    argv = (vm / 'argv').read_bytes().decode().split('\0')[:-1]
    assert argv == ['-m', *words]
  finally:
    cloud.succeed('stop')
  assert state(vm) == 'stopped'
  assert 'saved' in cloud.succeed('logs', '--lines=5').stdout
  for code, wanted in ('0', 'done'), ('2', 'failed 2'):
    (vm / 'code').write_text(code)
    cloud.succeed('eval', '--', 'x')
    until(lambda: state(vm) != 'running')
    assert state(vm) == wanted
  assert state(vm, '1') == 'none'


def lines(words):
  return ''.join(f'{word}\n' for word in words).encode()


def state(vm, *checksum):
  said = subprocess.run(
    ['bash', vm / 'moe_lite/launch/tpu/on_vm.sh', 'state', *checksum],
    env={'HOME': str(vm), 'PATH': os.environ['PATH']},
    capture_output=True,
    text=True,
    check=True,
  ).stdout
  return said.removeprefix('run: ').strip()


def until(condition):
  end = time.monotonic() + 20
  while not condition():
    assert time.monotonic() < end
    time.sleep(0.02)
