"""docs/tutorials/tpu.md: its commands run as printed, on a stub of gcloud."""

import json
import os
import re
import subprocess

from moe_lite.process import macros
from tests.launch.cloud import COMMANDS, check_gin_files, write_executable
from tests.paths import ROOT

TEXT = (ROOT / 'docs' / 'tutorials' / 'tpu.md').read_text()
BLOCKS = re.findall(r'^```sh\n(.*?)^```$', TEXT, re.M | re.S)
# Commands of the page that are written down, and do nothing else.
RECORD = """#!/bin/bash
printf '%s ' "$(basename "$0")" "$@" >>{log}
echo >>{log}
"""


def test_every_command_is_taken(cloud):
  log = cloud.folder / 'log'
  for name in ('python', 'pip'):
    write_executable(cloud.folder / 'bin' / name, RECORD.format(log=log))
  # The slice is not there, is there, and is then deleted.
  cloud.answers(queue=('NOT_FOUND', 'ACTIVE'), run=('done',))
  script = '\n'.join(b for b in BLOCKS if not b.startswith('source '))
  done = subprocess.run(
    ('bash', '-euc', script),
    cwd=cloud.checkout,
    env={
      **os.environ,
      'PATH': f'{cloud.folder}/bin:{os.environ["PATH"]}',
      'TMPDIR': str(cloud.folder),
      'TPU_POLL_SECONDS': '0.01',
    },
    input='y\n',  # To delete.sh, which asks.
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 0, done.stderr
  said = done.stdout
  assert 'moe-lite is ACTIVE and billed from now on' in said
  assert 'moe-lite: the run is done.' in said
  calls = [json.dumps(call) for call in cloud.calls()]
  for words in (
    '--accelerator-type=v5litepod-4',
    'moe_lite.train --multi_host --gin_file=models/t5_1_1_mini.gin',
    'moe_lite.eval --multi_host --gin_file=gs://my-bucket/run/config.gin',
    'tail -n 100 -F',
    'queued-resources", "delete", "moe-lite',
  ):
    assert any(words in call for call in calls), words
  # What the page runs here is a command of the package.
  for line in log.read_text().splitlines():
    if module := re.match('python -m moe_lite[.]([a-z]+)', line):
      place = ROOT / 'moe_lite' / module[1]
      assert place.exists() or place.with_suffix('.py').exists()


def test_scripts_files_and_macros_exist():
  scripts = re.findall(r'bash launch/tpu/(\w+)\.sh', TEXT)
  assert set(scripts) == set(COMMANDS)
  check_gin_files('\n'.join(re.findall(r'--gin_file=(?!gs:)[\w/.]+', TEXT)))
  for name in re.findall(r'--gin\.([A-Z_]+)=', TEXT):
    assert name in macros.BY_NAME
