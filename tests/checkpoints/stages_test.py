"""The chain of stages that adapters carry."""

from moe_lite.checkpoints import stages
from moe_lite.checkpoints.description import BaseInfo, Description
from moe_lite.t5.method import Method

FIRST = {'source': 'runs/first', 'method': {}, 'trainable': '.*'}


def test_a_run_adds_itself_to_its_chain():
  said = Description(
    Method('.*router/.*', {'key': 'MoV(num_experts=2)', 'wo': 'IA3()'}),
    BaseInfo('a base', 'abc'),
    step=4000,
    data={'mixture_or_task_name': 'a_mixture', 'batch_size': 8, 'seed': 1},
    settings={'SCHEDULE and LEARNING_RATE': {'0': 0.0, '100': 0.003}},
    stages=[FIRST],
  )
  chain = stages.after('runs/second', said, 'def')
  assert chain[0] == FIRST
  assert chain[1]['batch_size'] == 8
  assert chain[1]['fingerprint'] == 'def'
  assert stages.told(chain) == {
    'stage 1': 'no adapters (runs/first, where .* trained)',
    'stage 2': (
      'IA3 and MoV, 4,000 steps, on a_mixture, at a rate of 0.003 '
      '(runs/second, where .*router/.* trained)'
    ),
  }


def test_an_export_is_told_by_what_it_says_of_its_run():
  said = Description(
    Method('.*', {'key': 'IA3()'}),
    BaseInfo('a base', 'abc'),
    training={'steps': 7, 'data': 'a_task', 'batch size': 4},
  )
  (stage,) = stages.after('an/export', said, 'def')
  assert (stage['steps'], stage['data'], stage['batch_size']) == (
    7,
    'a_task',
    4,
  )
  assert 'seed' not in stage
