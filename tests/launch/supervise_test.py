"""launch/tpu/supervise.sh: a run goes on through preemptions."""

import json

import pytest

from tests.launch.cloud import RUN


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
    (['failed 4'], 2, RESTART, 'it diverged'),
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
