"""launch/tpu/create.sh: a slice is requested and waited for."""

import pytest


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
