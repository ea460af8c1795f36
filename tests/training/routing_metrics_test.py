"""What is said of experts' use while a run trains."""

import numpy as np
import pytest

from moe_lite.training import routing_metrics


def statistics(*weights):
  return {
    f'encoder/layers_{i}/mlp/wo_adapter/router': {
      'weight': np.array(weight, np.float32),
      'entropy': np.float32(sum(weight) * 0.5),
      'tokens': np.float32(sum(weight)),
    }
    for i, weight in enumerate(weights)
  }


def test_measures_of_a_router():
  measured = routing_metrics.of_routers(statistics([8, 8], [15.9, 0.1]))
  assert list(measured) == [
    'encoder/layers_0/mlp/wo',
    'encoder/layers_1/mlp/wo',
  ]
  even, uneven = measured.values()
  assert even['entropy'] == pytest.approx(0.5)
  assert (even['dead_experts'], even['from_uniform']) == (0, 0)
  assert uneven['dead_experts'] == 1
  assert uneven['largest_share'] == pytest.approx(15.9 / 16)
  assert uneven['from_uniform'] == pytest.approx(15.9 / 16 - 0.5)
  assert sum(uneven['share']) == pytest.approx(1, abs=1e-4)


def test_layers_of_a_scanned_network_are_told_apart():
  stacked = {
    'encoder/layers/mlp/wo_adapter/router': {
      'weight': np.array([[1.0, 1.0], [2.0, 0.0]]),
      'entropy': np.array([1.0, 0.0]),
      'tokens': np.array([2.0, 2.0]),
    }
  }
  measured = routing_metrics.of_routers(stacked)
  assert measured['encoder/layers_1/mlp/wo']['dead_experts'] == 1
  assert measured['encoder/layers_0/mlp/wo']['entropy'] == 0.5
  summary = routing_metrics.summary(measured)
  assert summary['routing_largest_share'] == 1
  assert summary['routing_dead_experts'] == 1


def test_a_collapse_is_said_when_it_begins_and_when_it_spreads():
  alarm = routing_metrics.Alarm()
  fine, dead = [4.0, 4.0, 4.0], [12.0, 0.0, 0.0]
  read = lambda *weights: routing_metrics.of_routers(statistics(*weights))
  assert alarm.check(1, read(fine, fine)) is None
  said = alarm.check(2, read(fine, dead))
  assert said is not None
  assert 'step 2' in said and '1 of 2 routers' in said
  assert 'In encoder/layers_1/mlp/wo, 2 of 3' in said and '100%' in said
  assert alarm.check(3, read(dead, fine)) is None
  assert alarm.check(4, read(dead, dead)) is not None
