"""What all scripts of launch/tpu share: flags, dry runs, mistakes, help."""

import shlex
import shutil
import subprocess

import pytest

from tests.launch.cloud import COMMANDS, LAUNCH, RUN, SCRIPTS

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


@pytest.mark.parametrize(
  'script, arguments, words',
  [
    ('create', ['--type=v5e-16'], 'v5litepod-{1,4,8,16,32,64,128,256}'),
    ('create', ['--type=v5litepod-2'], "'v5litepod-2' is not a type"),
    ('create', [], 'Give --type=TYPE'),
    ('create', ['--type=v4-8', '--timeout_minutes=1h'], "'1h'"),
    ('create', ['--type=v4-8', 'x'], "unknown flag 'x'. There are --name="),
    ('status', ['--zone=us-west4'], 'A zone is a region and a letter'),
    ('status', ['--zone='], 'no zone. Give --zone=ZONE'),
    ('status', ['--project='], "'gcloud projects list' shows yours"),
    ('status', ['--name=My_TPU'], "--name='My_TPU'"),
    ('status', ['--zone', 'us-west4-a'], "unknown flag '--zone'"),
    ('status', ['--', 'x'], "'x' after --"),
    ('setup', ['--commit=nowhere'], "'nowhere' is not a commit"),
    ('train', ['--gin_file=x'], 'what the run reads follows --'),
    ('train', [], 'after --'),
    ('eval', ['--'], 'after --'),
    ('logs', ['--worker=all'], "'all' is not a number"),
    ('delete', [], 'nothing was deleted'),
    ('supervise', [*RUN, '--gin.MODEL_DIR=gs://b/run'], 'MODEL_DIR is gs://'),
    ('supervise', ['--', "--gin.MODEL_DIR='runs/x'"], 'start at step 0'),
    ('supervise', ['--type=v4-8'], 'MODEL_DIR is not given'),
    ('supervise', ['--max_failures=x', *RUN], "'x' is not a whole number"),
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
