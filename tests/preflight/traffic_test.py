"""What a compiled program moves: bytes of collectives and of memory."""

import pytest

from moe_lite.preflight import hlo, traffic
from tests.preflight.loop_of_layers import TEXT

ROW = 8 * 64 * 2
LAYER = 64 * 64


def test_collectives_count_once_a_trip_and_once_a_channel():
  assert traffic.collectives(hlo.parse(TEXT)) == {'all-reduce': (24, 24 * ROW)}


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
