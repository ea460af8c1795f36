"""From a run to how its routers treat data sets."""

import numpy as np
import pytest
import seqio

from moe_lite.core.errors import UserError
from moe_lite.evaluation import routing_usage
from moe_lite.evaluation.examples import ExampleReader
from moe_lite.inference.source import ModelSource
from tests import tiny_run


@pytest.fixture(scope='module')
def paths(tmp_path_factory):
  tiny_run.add_suite()
  return tiny_run.write(tmp_path_factory.mktemp('routing_usage'), scale=4.0)


def measure(model, run, base):
  trained = ModelSource(model, run, base, base_dtype='float32').load()
  tasks = seqio.get_mixture_or_task('tiny_score_eval').tasks
  reader = ExampleReader(tasks, tiny_run.LENGTHS)
  return routing_usage.measure(trained, reader, reader.read('validation', 5))


@pytest.fixture(scope='module')
def measured(paths):
  base, run = paths
  return measure(tiny_run.model(), run, base)


def test_means_are_over_the_tokens_of_the_right_choices(measured):
  assert list(measured) == ['tiny_pair', 'tiny_triple']
  columns = [tiny_run.score_columns(seed) for seed in range(2)]
  texts = [
    text
    for c in columns
    for (example, _), text, right in zip(
      c['idx'], c['inputs'], c['is_correct'], strict=True
    )
    if example < 5 and right
  ]
  usage = measured['tiny_pair']['encoder/layers_0/attention/key']
  # Bytes, and no padding: neither of rows nor of the batch.
  assert usage.tokens == sum(len(text) for text in texts)
  for usages in measured.values():
    for usage in usages.values():
      np.testing.assert_allclose(usage.probability.sum(), usage.tokens, 1e-5)


def test_a_scanned_network_routes_alike(paths, measured):
  base, run = paths
  scanned = measure(tiny_run.model(scan_layers=True), run, base)
  assert scanned.keys() == measured.keys()
  for dataset, usages in measured.items():
    assert scanned[dataset].keys() == usages.keys()
    for router, usage in usages.items():
      np.testing.assert_allclose(
        scanned[dataset][router].probability, usage.probability, rtol=1e-4
      )


def test_a_method_without_routers_is_refused(paths):
  base, _ = paths
  with pytest.raises(UserError, match='has no routers'):
    measure(tiny_run.model(), 'base', base)
