"""What adapters say of themselves, in words."""

import dataclasses

from moe_lite.inference.adapter_info import AdapterInfo

INFO = AdapterInfo(
  method='MoV',
  sites={'key': 'MoV(num_experts=10)', 'value': 'MoV(num_experts=10)'},
  num_experts={'key': 10, 'value': 10},
  trainable_parameters=39680,
  percent=3.5558,
  base='mini',
  source='runs/mov',
  step=1200,
)


def test_a_line_says_what_they_are():
  assert str(INFO) == (
    'MoV with 10 experts at key, value; 39,680 parameters (3.56 % of the base);'
    ' from runs/mov, step 1,200'
  )


def test_what_is_not_known_is_left_out():
  full = dataclasses.replace(
    INFO,
    method='full fine-tuning',
    sites={},
    num_experts={},
    trainable_parameters=1000,
    percent=100.0,
    step=None,
  )
  assert str(full) == (
    'full fine-tuning; 1,000 parameters (100 % of the base); from runs/mov'
  )
