"""Free text: in parts it is as in one go, and it has no padding."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moe_lite.checkpoints.description import BaseInfo
from moe_lite.core import partitioning
from moe_lite.core.errors import UserError
from moe_lite.inference.facts import Facts
from moe_lite.inference.generation import Generator, describe_decoder
from moe_lite.inference.padding import Input, Shapes
from moe_lite.inference.trained import Trained
from moe_lite.models import decoding
from tests import tiny_run

SHAPES = Shapes(batch_size=2, input_length=16, target_length=6)
INPUTS = [Input(list(range(3, 3 + n))) for n in (4, 9, 12, 5, 3)]


@pytest.fixture(scope='module')
def trained():
  facts = Facts('base', None, BaseInfo('x', 'y'), {}, 0, 1, None)
  mesh = partitioning.make_mesh(None)
  return Trained(tiny_run.model(), tiny_run.draw(), mesh, facts)


def test_a_run_that_goes_on_draws_what_it_would_have_drawn(trained):
  draw = functools.partial(decoding.sample, temperature=2.0)
  # A partial has no name.
  functools.update_wrapper(draw, decoding.sample)
  generator = Generator(trained, SHAPES, draw, seed=4)
  whole = list(generator(INPUTS))
  assert [len(batch) for batch in whole] == [2, 2, 1]
  rest = list(generator(INPUTS[2:], first_batch=1))
  for one, other in zip(whole[1:], rest, strict=True):
    for ids, same in zip(one, other, strict=True):
      np.testing.assert_array_equal(ids, same)
  again = list(generator(INPUTS, seed=5))
  assert any(
    ids.tolist() != other.tolist()
    for one, two in zip(whole, again, strict=True)
    for ids, other in zip(one, two, strict=True)
  )


def test_outputs_have_neither_eos_nor_padding(trained):
  def decode(inputs, cache, tokens_to_logits, **options):
    rows = [[5, 6, 1, 7, 0, 0], [8, 0, 0, 0, 0, 0]]
    return jnp.array(rows, jnp.int32)

  ((one, other),) = Generator(trained, SHAPES, decode)(INPUTS[:2])
  assert (one.tolist(), other.tolist()) == ([5, 6], [8])


@pytest.mark.parametrize(
  'decode, beams',
  [(decoding.greedy, 1), (decoding.sample, 1), (decoding.beam_search, 2)],
)
def test_outputs_that_are_not_finite_are_an_error(trained, decode, beams):
  huge = jax.tree.map(lambda x: np.nan * x, trained.params)
  diverged = dataclasses.replace(trained, params=huge)
  generator = Generator(diverged, SHAPES, decode, num_decodes=beams)
  with pytest.raises(UserError, match='outputs of base .* are not finite'):
    list(generator(INPUTS))


def test_beams_need_a_search(trained):
  with pytest.raises(UserError, match='NUM_DECODES = 3, but greedy decodes'):
    Generator(trained, SHAPES, decoding.greedy, num_decodes=3)


def test_a_batch_must_be_split_over_the_mesh(trained):
  with pytest.raises(UserError, match='BATCH_SIZE = 0'):
    Generator(trained, Shapes(0, 8, 8))


def test_a_decoder_that_gin_does_not_know_goes_by_its_name():
  def mine():
    pass

  assert describe_decoder(mine) == {'name': 'mine'}
