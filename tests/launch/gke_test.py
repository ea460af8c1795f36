"""launch/gke: a JobSet on a slice."""

import yaml  # Of flax.

from tests.launch.cloud import LAUNCH, check_gin_files


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
