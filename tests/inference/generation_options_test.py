"""The options of generated texts: which are allowed, and what they compile."""

import pytest

from moe_lite.core.errors import UserError
from moe_lite.inference.generation_options import GenerationOptions


@pytest.mark.parametrize(
  'options',
  [
    {'num_return_sequences': 2},
    {'num_beams': 2, 'num_return_sequences': 3},
    {'num_beams': 2, 'temperature': 0.5},
    {'num_beams': 2, 'top_k': 5},
    {'num_beams': 2, 'top_p': 0.5},
    {'max_length': 0},
    {'max_length': 2.0},
    {'num_beams': True},
    {'num_return_sequences': 0},
  ],
)
def test_what_cannot_be_is_refused(options):
  with pytest.raises(UserError) as error:
    GenerationOptions(**options)
  for name in options:
    assert name in str(error.value)


def test_a_search_compiles_alike_whatever_is_wanted_of_it():
  two, four = (
    GenerationOptions(num_beams=4, num_return_sequences=n) for n in (2, 4)
  )
  assert two != four and two.compiled == four.compiled
  two, four = (
    GenerationOptions(top_k=9, num_return_sequences=n) for n in (2, 4)
  )
  assert two.compiled != four.compiled


def test_any_option_of_draws_draws():
  assert not GenerationOptions(num_beams=2).is_drawn
  for options in ({'temperature': 1.0}, {'top_k': 1}, {'top_p': 0.9}):
    assert GenerationOptions(num_return_sequences=7, **options).is_drawn
