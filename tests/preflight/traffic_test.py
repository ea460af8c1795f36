"""What a compiled program moves: bytes of collectives and of memory."""

import pytest

from moe_lite.preflight import hlo, traffic
from tests.preflight.loop_of_layers import TEXT

ROW = 8 * 64 * 2
LAYER = 64 * 64


def test_collectives_count_once_a_trip_and_once_a_channel():
  assert traffic.collectives(hlo.parse(TEXT)) == {'all-reduce': (24, 24 * ROW)}


# Two fusions compute while an array is gathered. Each gets the arrays of the
# collective, has a phase of it, and hands them on.
ALL = '(f32[16]{0}, bf16[8,64]{1,0}, bf16[32,64]{1,0})'
OVERLAPPED = """HloModule jit_step, is_scheduled=true

%phase_1 (p0: bf16[8,64], p1: bf16[32,64], p2: f32[16]) -> (f32[16]) {
  %p0 = bf16[8,64]{1,0} parameter(0)
  %p1 = bf16[32,64]{1,0} parameter(1)
  %p2 = f32[16]{0} parameter(2)
  %g = bf16[32,64]{1,0} all-gather(%p0), channel_id=7, dimensions={0}
  %n = f32[16]{0} negate(%p2)
  ROOT %t = ALL tuple(%n, %p0, %g)
}

%phase_2 (p0: bf16[8,64], p1: bf16[32,64], p2: f32[16]) -> (f32[16]) {
  %p0.2 = bf16[8,64]{1,0} parameter(0)
  %p1.2 = bf16[32,64]{1,0} parameter(1)
  %p2.2 = f32[16]{0} parameter(2)
  %g.2 = bf16[32,64]{1,0} all-gather(%p0.2), channel_id=7, dimensions={0}
  %n.2 = f32[16]{0} negate(%p2.2)
  ROOT %t.2 = ALL tuple(%n.2, %p0.2, %g.2)
}

ENTRY %main (x: bf16[8,64], y: f32[16]) -> f32[16] {
  %x = bf16[8,64]{1,0} parameter(0)
  %y = f32[16]{0} parameter(1)
  %async-collective-start = ALL fusion(%x), kind=kCustom
  %b = bf16[32,64]{1,0} get-tuple-element(%async-collective-start), index=2
  %f = ALL fusion(%x, %b, %y), calls=%phase_1
  %y.1 = f32[16]{0} get-tuple-element(%f), index=0
  %h = ALL fusion(%x, %b, %y.1), calls=%phase_2
  ROOT %y.2 = f32[16]{0} get-tuple-element(%h), index=0
}
""".replace('ALL', ALL)


def test_what_is_gathered_beside_something_else_is_moved_once():
  moved = traffic.bytes_moved(hlo.parse(OVERLAPPED))
  assert moved == 2 * (16 + 16) * 4 + (8 + 32) * 64 * 2


def test_making_room_moves_nothing():
  line = (
    '  %room = bf16[1024,1024]{1,0} custom-call(), '
    'custom_call_target="AllocateBuffer"\n'
  )
  at = TEXT.index('\n', TEXT.index('ENTRY')) + 1
  before = traffic.bytes_moved(hlo.parse(TEXT))
  after = traffic.bytes_moved(hlo.parse(TEXT[:at] + line + TEXT[at:]))
  assert after == before


def test_only_the_slice_of_a_stack_is_moved():
  # A trip reads a layer of int8, three scalars, and x; what it computes stays
  # on the chip. The all-reduces read nothing of memory and write a row each.
  # Saving reads a row and writes a row.
  trip = (LAYER + 4 + ROW) + 2 * ROW + (ROW + 4 + ROW) + 8 + 8 + 1
  stack = 24 * 8 * 64 * 2
  moved = traffic.bytes_moved(hlo.parse(TEXT))
  assert moved == pytest.approx(24 * trip + stack, rel=0.01)
