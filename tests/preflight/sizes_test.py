"""Bytes and elements of types in a compiled program's text."""

import pytest

from moe_lite.preflight import sizes


@pytest.mark.parametrize(
  'type_, bytes_',
  [
    ('bf16[8,128]{1,0:T(8,128)(2,1)}', 2048),
    ('f32[]', 4),
    ('pred[4]{0}', 4),
    ('(s8[2,2]{1,0}, u32[3])', 16),
    ('bf16[8,128]{1,0:T(8,128)(2,1)S(1)}', 0),
  ],
)
def test_bytes_of_a_type(type_, bytes_):
  assert sizes.size(type_) == bytes_


def test_what_lies_on_the_chip_is_counted_if_asked_for():
  type_ = 'bf16[8,128]{1,0:T(8,128)(2,1)S(1)}'
  assert sizes.size(type_, everywhere=True) == 2048


def test_a_tuple_lists_its_types():
  type_ = '(bf16[8,64]{1,0}, (s32[], f32[2,3]{1,0:T(8,128)}), s32[])'
  assert [x.strip() for x in sizes.parts(type_)] == [
    'bf16[8,64]{1,0}',
    '(s32[], f32[2,3]{1,0:T(8,128)})',
    's32[]',
  ]
  assert sizes.count('(s8[2,2]{1,0}, u32[3])') == 7
