"""launch/tpu against a stub of gcloud, and the files for SkyPilot and GKE."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time

import pytest
import yaml  # Of flax.

from tests.paths import ROOT

LAUNCH = ROOT / 'launch'
SCRIPTS = sorted(p.stem for p in (LAUNCH / 'tpu').glob('*.sh'))
COMMANDS = [s for s in SCRIPTS if s not in ('common', 'on_vm')]
RUN = ['--', '--gin_file=runs/finetune.gin', "--gin.MODEL_DIR='gs://b/run'"]

# Writes down its arguments, and answers as answers.json says: of a list the
# first, which is then gone unless it is the last. ssh and scp work on the
# folder vm, if there is one.
GCLOUD = r"""
import json, os, sys
folder = os.path.dirname(os.path.dirname(os.path.abspath(sys.argv[0])))
argv = sys.argv[1:]
with open(folder + '/calls', 'a') as file:
  file.write(json.dumps(argv) + '\n')
answers = json.load(open(folder + '/answers.json'))

def answer(name):
  first, *rest = answers[name]
  json.dump({**answers, name: rest or [first]},
            open(folder + '/answers.json', 'w'))
  return first

if argv[0] == 'auth':
  print(answer('account'))
  sys.exit()
noun, verb, vm = argv[2], argv[3], folder + '/vm'
command = argv[-1].partition('--command=')[2]
if verb == 'describe' and 'error' in argv[-1]:
  print('no more chips')
elif verb == 'describe':
  state = answer(noun)
  if state in ('NOT_FOUND', 'PERMISSION_DENIED'):
    sys.exit('ERROR: ' + state)
  print(state)
elif verb == 'scp' and os.path.isdir(vm):
  import shutil
  shutil.copy(argv[4], vm + '/' + argv[5].partition(':')[2])
elif verb == 'ssh' and os.path.isdir(vm):
  import subprocess
  env = {'HOME': vm, 'PATH': vm + '/bin:/usr/bin:/bin'}
  sys.exit(subprocess.call(['bash', '-c', command], cwd=vm, env=env))
elif verb == 'ssh' and command.endswith('fi'):
  for state in filter(None, answer('run').split('|')):
    print('run:', state)
"""

# Makes "environments" of itself; runs moe_lite.* until it is told to end.
PYTHON = r"""#!/bin/bash
case "$1 $2" in
  '-m venv') mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  '-m moe_lite.'*)
    printf '%s\0' "$@" >"$HOME/argv"
    trap 'echo saved; exit 143' TERM
    until [ -e "$HOME/code" ]; do sleep 0.02; done
    exit "$(cat "$HOME/code")"
    ;;
esac
"""


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


def write_executable(path, text):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(text)
  path.chmod(0o755)


class Cloud:
  """A project in which the stub answers, and the scripts called on it."""

  def __init__(self, folder, checkout):
    self.folder, self.checkout = folder, checkout
    stub = f'#!{sys.executable} -SE\n{GCLOUD}'
    write_executable(folder / 'bin' / 'gcloud', stub)
    self.answers()

  def answers(
    self, queue=('ACTIVE',), node=('READY',), run=('',), account='me'
  ):
    answers = {
      'queued-resources': queue,
      'tpu-vm': node,
      'run': run,
      'account': [account],
    }
    (self.folder / 'answers.json').write_text(json.dumps(answers))

  def run(self, script, *arguments, **env):
    ours = ('TPU_', 'CLOUDSDK_')
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    kept |= {
      'PATH': f'{self.folder}/bin:{os.environ["PATH"]}',
      'TMPDIR': str(self.folder),
      'TPU_ZONE': 'us-west4-a',
      'TPU_PROJECT': 'p',
      'TPU_POLL_SECONDS': '0.01',
    }
    return subprocess.run(
      ['bash', f'{self.checkout}/launch/tpu/{script}.sh', *arguments],
      env=kept | env,
      capture_output=True,
      text=True,
      input='',
      timeout=300,
    )

  def succeed(self, *arguments):
    done = self.run(*arguments)
    assert done.returncode == 0, done.stderr
    return done

  def calls(self):
    path = self.folder / 'calls'
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return [json.loads(line) for line in lines]

  def changes(self):
    """Its verbs, without looks at a state."""
    return [
      c[3]
      for c in self.calls()
      if c[3] != 'describe' and c[0] != 'auth' and not c[-1].endswith('fi')
    ]


@pytest.fixture
def cloud(tmp_path, checkout):
  return Cloud(tmp_path, checkout)


def test_create_requests_through_the_queue_and_waits(cloud):
  waiting = ('NOT_FOUND', 'WAITING_FOR_RESOURCES', 'PROVISIONING', 'ACTIVE')
  cloud.answers(queue=waiting, node=('CREATING', 'READY'))
  done = cloud.succeed('create', '--type=v5litepod-16')
  for state in ('WAITING_FOR_RESOURCES', 'PROVISIONING', 'CREATING'):
    assert f'moe-lite: {state}, 0 min' in done.stdout
  (create,) = [c for c in cloud.calls() if c[3] == 'create']
  assert create[2:] == [
    *('queued-resources', 'create', 'moe-lite', '--node-id=moe-lite'),
    '--accelerator-type=v5litepod-16',
    '--runtime-version=v2-alpha-tpuv5-lite',
    *('--zone=us-west4-a', '--project=p'),
  ]
  # Again: it is there.
  cloud.succeed('create', '--type=v5litepod-16')
  assert cloud.changes() == []


def test_create_passes_on_spot_and_further_flags(cloud):
  cloud.answers(queue=('NOT_FOUND', 'ACTIVE'))
  account = '--service-account=a@b.c'
  flags = ['--spot', '--valid_until_duration=6h', f'--create_flag={account}']
  cloud.succeed('create', *flags, '--name=x', '--type=v6e-8')
  (create,) = [c for c in cloud.calls() if c[3] == 'create']
  assert create[4:6] == ['x', '--node-id=x']
  assert '--runtime-version=v2-alpha-tpuv6e' in create
  assert create[-3:] == ['--spot', '--valid-until-duration=6h', account]


@pytest.mark.parametrize(
  'queue, words',
  [
    (('NOT_FOUND', 'FAILED'), 'is FAILED (no more chips)'),
    (('SUSPENDED',), 'delete.sh, then create it again'),
    (('NOT_FOUND', 'PROVISIONING'), 'is PROVISIONING after 0 minutes'),
    (('PERMISSION_DENIED',), 'could not say whether moe-lite exists'),
  ],
)
def test_create_ends_where_waiting_is_no_use(cloud, queue, words):
  cloud.answers(queue=queue)
  done = cloud.run('create', '--type=v4-8', '--timeout_minutes=0')
  assert done.returncode == 1
  *_, last = done.stderr.splitlines()
  assert last.startswith('launch/tpu/create.sh: ') and words in last


EXAMPLES = {
  'create': (['--type=v5p-8', '--spot'], {'queue': ('NOT_FOUND', 'ACTIVE')}),
  'setup': ([], {}),
  'train': (RUN, {}),
  'eval': (RUN, {}),
  'logs': (['--worker=2', '--lines=5'], {}),
  'stop': (['--kill'], {}),
  'status': ([], {}),
  'delete': (['--yes'], {}),
  'supervise': (
    ['--type=v5litepod-8', '--spot', *RUN],
    {
      'queue': (*['NOT_FOUND'] * 2, *['ACTIVE'] * 3, 'SUSPENDED', 'ACTIVE'),
      'run': ('not set up', 'running', 'failed 1', 'done'),
    },
  ),
}


@pytest.mark.parametrize('script', COMMANDS)
def test_a_dry_run_prints_the_commands_of_a_real_run(cloud, script):
  arguments, answers = EXAMPLES[script]
  dry = cloud.succeed(script, '--dry_run', *arguments)
  assert not dry.stderr and cloud.calls() == []
  cloud.answers(**answers)
  cloud.succeed(script, *arguments)
  printed = [
    shlex.split(line, comments=True) for line in dry.stdout.splitlines()
  ]
  printed = [words[1:] for words in printed if words[:1] == ['gcloud']]
  called = cloud.calls()
  if script == 'supervise':  # The same again and again.
    printed, called = (
      list(map(list, dict.fromkeys(map(tuple, words))))
      for words in (printed, called)
    )
  assert printed == called
  if script in ('setup', 'supervise'):
    assert f'git -C {cloud.checkout} archive --format=tar.gz' in dry.stdout


def test_what_scripts_do_on_workers(cloud):
  there = 'moe_lite/launch/tpu/on_vm.sh'
  for arguments, worker, command in [
    (['stop'], 'all', f'bash {there} stop TERM'),
    (['logs'], '0', 'tail -n 100 -F moe_lite_run/log'),
    (['eval', '--', '--x'], 'all', f'bash {there} start moe_lite.eval'),
  ]:
    cloud.succeed(*arguments)
    call = cloud.calls()[-1]
    assert call[2:6] == ['tpu-vm', 'ssh', 'moe-lite', f'--worker={worker}']
    assert call[-1].startswith(f'--command={command}')
  cloud.succeed('delete', '--yes')
  assert cloud.calls()[-1][2:] == [
    *('queued-resources', 'delete', 'moe-lite', '--zone=us-west4-a'),
    *('--project=p', '--force', '--quiet'),
  ]


def test_the_supervisor_brings_a_preempted_run_back(cloud):
  cloud.answers(
    # create.sh looks a second time. The second time the slice is lost, it says
    # so before its request does.
    queue=(*['NOT_FOUND'] * 2, 'CREATING', *['ACTIVE'] * 2, 'SUSPENDED')
    + ('DELETING', *['NOT_FOUND'] * 2, *['ACTIVE'] * 3)
    + (*['NOT_FOUND'] * 2, 'ACTIVE'),
    node=(*['READY'] * 4, 'PREEMPTED', 'READY'),
    run=('not set up', 'running|done', 'not set up', 'running', 'not set up')
    + ('done|done',),
  )
  done = cloud.succeed(
    *('supervise', '--type=v5litepod-16', '--spot', '--delete_when_done'), *RUN
  )
  assert 'PREEMPTED; asking for another slice' in done.stdout
  calls = cloud.calls()
  starts = [c for c in calls if 'on_vm.sh start' in c[-1]]
  assert len(starts) == 3 and starts[0] == starts[1] == starts[2]
  (cloud.folder / 'calls').write_text('\n'.join(map(json.dumps, calls)))
  assert cloud.changes() == ['create', 'scp', 'ssh', 'ssh', 'delete'] * 3


RESTART = ['ssh', 'scp', 'ssh', 'ssh']  # Clear, copy, set up, start.


@pytest.mark.parametrize(
  'run, code, changes, words',
  [
    # What an earlier supervisor, or another command, left behind.
    (['done|done'], 0, [], 'the run is done'),
    (['none', 'done'], 0, RESTART, 'the run is done'),
    (['stopped', 'done'], 0, RESTART, 'the run is done'),
    (['failed 1|running', 'done'], 0, RESTART, 'the run is done'),
    (['other'], 2, [], 'another run is going on'),
    # What happened since.
    (['running', 'stopped|done'], 0, [], 'stop.sh stopped the run'),
    (['running', 'failed 1|running', 'done'], 0, RESTART, 'failure 1'),
    (['running', 'failed 143', 'done'], 0, RESTART, 'the run is done'),
    (['failed 2'], 2, RESTART, 'a mistake in its command'),
    (['running', 'failed 1'], 1, RESTART, 'more than 1 failures'),
    (['', '', '', 'done'], 0, [], 'unreachable'),
    ([''], 1, [], 'ssh failed 10 times in a row'),
  ],
)
def test_the_supervisor_knows_how_a_run_is(cloud, run, code, changes, words):
  cloud.answers(run=run)
  done = cloud.run('supervise', '--max_failures=1', *RUN)
  assert done.returncode == code, done.stderr
  assert words in done.stdout + done.stderr
  assert cloud.changes() == changes


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


@pytest.mark.parametrize(
  'script, arguments, words',
  [
    ('create', ['--type=v5e-16'], 'v5litepod-{1,4,8,16,32,64,128,256}'),
    ('create', ['--type=v5litepod-2'], "'v5litepod-2' is none of"),
    ('create', [], 'Give --type=TYPE'),
    ('create', ['--type=v4-8', '--timeout_minutes=1h'], "'1h'"),
    ('create', ['--type=v4-8', 'x'], "unknown flag 'x'. There are --name="),
    ('status', ['--zone=us-west4'], 'a zone is a region and a letter'),
    ('status', ['--zone='], 'no zone. Give --zone=ZONE'),
    ('status', ['--project='], "'gcloud projects list' shows yours"),
    ('status', ['--name=My_TPU'], "--name='My_TPU'"),
    ('status', ['--zone', 'us-west4-a'], "unknown flag '--zone'"),
    ('status', ['--', 'x'], "'x' after --"),
    ('setup', ['--commit=nowhere'], "'nowhere' is no commit"),
    ('train', ['--gin_file=x'], 'what the run reads follows --'),
    ('train', [], 'after --'),
    ('eval', ['--'], 'after --'),
    ('logs', ['--worker=all'], "'all' is no number"),
    ('delete', [], 'nothing was deleted'),
    ('supervise', [*RUN, '--gin.MODEL_DIR=gs://b/run'], 'MODEL_DIR is gs://'),
    ('supervise', ['--', "--gin.MODEL_DIR='runs/x'"], 'start at step 0'),
    ('supervise', ['--type=v4-8'], 'MODEL_DIR is not given'),
    ('supervise', ['--max_failures=x', *RUN], "'x' is no whole number"),
  ],
)
def test_a_mistake_is_one_message(cloud, script, arguments, words):
  done = cloud.run(script, *arguments)
  assert done.returncode == 2
  (line,) = done.stderr.splitlines()
  assert line.startswith(f'launch/tpu/{script}.sh: ') and words in line
  assert not {'create', 'delete', 'scp', 'ssh'} & set(cloud.changes())


def test_gcloud_is_missing_or_not_logged_in(cloud):
  tools = cloud.folder / 'tools'
  tools.mkdir()
  for name in ('basename', 'bash', 'dirname', 'grep', 'mktemp', 'rm'):
    (tools / name).symlink_to(shutil.which(name))
  done = cloud.run('status', PATH=str(tools))
  assert done.returncode == 2 and 'gcloud is not installed' in done.stderr
  assert cloud.run('status', '--dry_run', PATH=str(tools)).returncode == 0
  cloud.answers(account='')
  done = cloud.run('status')
  assert done.returncode == 2 and 'gcloud auth login' in done.stderr


@pytest.mark.parametrize('script', SCRIPTS)
def test_every_script_parses_helps_and_is_in_the_readme(cloud, script):
  path = LAUNCH / 'tpu' / f'{script}.sh'
  subprocess.run(['bash', '-n', path], check=True)
  assert f'`tpu/{script}.sh`' in (LAUNCH / 'README.md').read_text()
  if script in COMMANDS:
    done = cloud.succeed(script, '--help')
    assert f'bash launch/tpu/{script}.sh' in done.stdout
    assert '--dry_run' in done.stdout and cloud.calls() == []


def check_gin_files(text):
  files = re.findall(r'--gin_file=(\S+)', text)
  assert files and all((ROOT / 'gin' / name).exists() for name in files)


def test_skypilot_runs_a_managed_spot_job():
  task = yaml.safe_load((LAUNCH / 'skypilot' / 'moe_lite.yaml').read_text())
  resources = task['resources']
  assert resources['accelerators'] == 'tpu-v5litepod-16'
  assert resources['accelerator_args'] == {
    'runtime_version': 'v2-alpha-tpuv5-lite'
  }
  assert resources['use_spot'] is True and task['workdir'] == '.'
  assert (ROOT / task['setup'].split()[1]).exists()
  words = shlex.split(task['run'].replace('$MODEL_DIR', 'gs://b/run'))
  assert words[2:5] == ['-m', 'moe_lite.train', '--multi_host']
  assert words[-1] == "--gin.MODEL_DIR='gs://b/run'"
  check_gin_files(task['run'])


def test_gke_runs_a_pod_on_every_host_of_a_slice():
  jobset = yaml.safe_load((LAUNCH / 'gke' / 'jobset.yaml').read_text())
  assert jobset['apiVersion'] == 'jobset.x-k8s.io/v1alpha2'
  assert jobset['kind'] == 'JobSet'
  assert jobset['spec']['failurePolicy']['maxRestarts'] > 0
  (replicated,) = jobset['spec']['replicatedJobs']
  job = replicated['template']['spec']
  assert job['completionMode'] == 'Indexed' and job['backoffLimit'] == 0
  assert job['completions'] == job['parallelism'] == 4
  pod = job['template']['spec']
  prefix = 'cloud.google.com/gke-'
  assert pod['nodeSelector'] == {
    f'{prefix}tpu-accelerator': 'tpu-v5-lite-podslice',
    f'{prefix}tpu-topology': '4x4',
    f'{prefix}spot': 'true',
  }
  assert pod['restartPolicy'] == 'Never'
  (container,) = pod['containers']
  for amounts in container['resources'].values():
    assert amounts == {'google.com/tpu': 4}
  assert container['image'].startswith('REPLACE')
  assert container['args'][:2] == ['moe_lite.train', '--multi_host']
  check_gin_files(' '.join(container['args']))
  image = (LAUNCH / 'gke' / 'Dockerfile').read_text()
  assert 'FROM python:3.11' in image and "'.[tpu]'" in image
