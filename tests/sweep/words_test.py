"""Gin files and bindings as flags."""

import pytest

from moe_lite.core.errors import UserError
from moe_lite.sweep.words import Composed, compose, literal


def test_what_is_referred_to_is_given_as_a_string():
  words = ['a.gin', "ADAPTERS = {'key': @adapters.MoV}", {'N': [1, 'x']}]
  assert compose(words).flags() == [
    '--gin_file=a.gin',
    "--gin.ADAPTERS={'key': @adapters.MoV}",
    "--gin.N=[1, 'x']",
  ]


def test_a_later_binding_replaces_an_earlier_one_and_files_come_first():
  words = compose(['a.gin', {'RANK': 1}]) + compose(['b.gin', 'RANK = 2'])
  assert words == Composed(('a.gin', 'b.gin'), {'RANK': '2'})
  assert words.flags() == [
    '--gin_file=a.gin',
    '--gin_file=b.gin',
    '--gin.RANK=2',
  ]


def test_a_comparison_is_not_a_binding():
  with pytest.raises(UserError, match='neither a gin file nor a binding'):
    compose('RANK == 2')
  with pytest.raises(UserError, match='nor a list of them'):
    compose(7)


def test_only_plain_values_are_written():
  assert literal('N', {'a': (1, None)}) == "{'a': (1, None)}"
  with pytest.raises(UserError, match='N: .* is not a plain value'):
    literal('N', print)
