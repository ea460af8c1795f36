"""How often the parts of a compiled program run."""

from moe_lite.preflight import hlo
from tests.preflight.loop_of_layers import TEXT


def test_loops_run_as_often_as_they_count():
  program = hlo.parse(TEXT)
  assert program.runs['main'] == 1
  assert program.runs['body'] == program.runs['condition'] == 24


def test_lines_are_read():
  program = hlo.parse(TEXT)
  (fusion,) = [i for i in program.computations['body'] if i.name == 'y']
  assert fusion.type == 'bf16[8,64]{1,0:T(8,128)S(1)}'
  assert fusion.opcode == 'fusion' and not fusion.is_root
  assert fusion.operands == ['w', 'i', 'x']
  assert fusion.called == {'calls': 'multiply'}
  (root,) = [i for i in program.computations['body'] if i.is_root]
  assert root.operands == ['i', 'sum', 'w', 'saved']
  assert program.fused == {'multiply', 'save'}
