"""JSON text without NaN, and nobody writes any other."""

import ast
import json
import math

import numpy as np
import pytest

from moe_lite.core import json_text
from moe_lite.core.errors import UserError
from tests.paths import ROOT


@pytest.mark.parametrize(
  'value', [math.nan, math.inf, -math.inf, np.float64('nan')]
)
@pytest.mark.parametrize('indent', [None, 2])
def test_a_number_that_is_not_finite_is_named(value, indent):
  content = {'step': 3, 'tasks': [{'value': 1.0}, {'scores': (0.5, value)}]}
  with pytest.raises(UserError, match=f'tasks/1/scores/1 is {value}'):
    json_text.dumps(content, indent=indent)


def test_finite_values_are_what_json_writes():
  content = {'a': [1, 2.5, None, True, 'ü'], 'b': {'c': -0.0}}
  assert json_text.dumps(content, indent=1) == json.dumps(content, indent=1)
  plain = json_text.dumps(content, ensure_ascii=False)
  assert 'ü' in plain and json.loads(plain) == content


def test_other_errors_stay_what_they_are():
  circle = []
  circle.append(circle)
  with pytest.raises(ValueError, match='Circular'):
    json_text.dumps(circle)


def test_nobody_writes_json_otherwise():
  sources = [*ROOT.glob('moe_lite/**/*.py'), *ROOT.glob('tasks/**/*.py')]
  for path in sources:
    if path == ROOT / 'moe_lite/core/json_text.py':
      continue
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
      if isinstance(node, ast.Attribute) and node.attr in ('dump', 'dumps'):
        is_json = isinstance(node.value, ast.Name) and node.value.id == 'json'
        assert not is_json, f'{path}:{node.lineno} writes NaN as it is.'
