"""A stub of gcloud, the scripts called on it, and a check of gin files."""

import json
import os
import re
import subprocess
import sys

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


def check_gin_files(text):
  files = re.findall(r'--gin_file=(\S+)', text)
  assert files and all((ROOT / 'gin' / name).exists() for name in files)
