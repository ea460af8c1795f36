"""Names of runs, by what they trained."""

import pytest

from moe_lite.evaluation import run_names
from tests.evaluation.outcomes import LORA, MOV, facts


@pytest.mark.parametrize(
  'method, trained, name',
  [
    ({}, 0, 'frozen base'),
    ({}, 1000, 'full fine-tuning'),
    (MOV, 20, 'MoV-10'),
    (LORA, 10, 'LoRA rank 4'),
    ({'key': 'MoLoRA(num_experts=3, rank=2)'}, 9, 'MoLoRA-3 rank 2'),
    # What stands at most sites.
    ({'key': 'IA3()', 'query': 'IA3()', 'out': 'LoRA(rank=4)'}, 9, 'IA3'),
  ],
)
def test_a_run_is_named_by_what_it_trained(method, trained, name):
  assert run_names.name(facts(method, trained)) == name


def test_equal_names_are_numbered():
  assert run_names.distinct(['a', 'b', 'a', 'a']) == [
    'a',
    'b',
    'a (2)',
    'a (3)',
  ]
