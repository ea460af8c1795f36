"""A word for each router, against routers made by hand."""

import numpy as np
import pytest

from moe_lite.routing_report import verdicts
from tests.routing_report.numbers_test import KEY, usage

UNSURE = float(np.log(4))


def judge(*datasets):
  """The row of one router, from its usage of each data set."""
  routing = {str(i): {KEY.format(2): of} for i, of in enumerate(datasets)}
  [row] = verdicts.judge(routing)
  return row


@pytest.mark.parametrize(
  'word,datasets',
  [
    # Each token has one expert, and all experts serve.
    (verdicts.SPECIALISED, [usage(0.25, 0.25, 0.25, 0.25)]),
    # Each data set has an expert of its own.
    (
      verdicts.SPECIALISED,
      [usage(1, 0, 0, 0), usage(0, 1, 0, 0), usage(0, 0, 1, 0)],
    ),
    (verdicts.UNIFORM, [usage(0.25, 0.25, 0.25, 0.25, entropy=UNSURE)]),
    (verdicts.UNIFORM, [usage(0.4, 0.2, 0.2, 0.2, entropy=0.96 * UNSURE)]),
    (verdicts.COLLAPSED, [usage(1, 0, 0, 0)]),
    # All tokens prefer the same experts, though only a little.
    (verdicts.BETWEEN, [usage(0.5, 0.3, 0.1, 0.1, entropy=0.8 * UNSURE)]),
  ],
)
def test_a_router_has_the_word_that_fits(word, datasets):
  assert judge(*datasets)['verdict'] == word


def test_the_numbers_behind_the_word_are_told():
  row = judge(usage(1, 0, 0, 0), usage(0, 1, 0, 0, entropy=UNSURE))
  assert row['of_tokens'] == pytest.approx(0.5)
  assert row['of_the_mean'] == pytest.approx(0.5)
  assert row['surer'] == pytest.approx(0)
  assert (row['hardly_used'], row['experts']) == (2, 4)
  assert (row['layer'], row['site']) == (2, 'attention/key')


def test_data_sets_count_the_same_however_many_tokens_they_have():
  row = judge(usage(1, 0, tokens=1000.0), usage(0, 1, tokens=1.0))
  assert row['of_the_mean'] == pytest.approx(1)


def test_one_expert_is_no_choice():
  assert judge(usage(1.0))['verdict'] == verdicts.BETWEEN


def test_the_headline_counts_every_router():
  words = [verdicts.SPECIALISED] * 3 + [verdicts.UNIFORM, verdicts.BETWEEN]
  said = verdicts.headline([{'verdict': word} for word in words])
  assert said == (
    'Of 5 routers, 3 specialised, 1 stayed uniform, 0 collapsed, and 1 is in '
    'between.'
  )


def test_every_word_has_a_meaning():
  assert set(verdicts.MEANINGS) == {
    *(verdicts.SPECIALISED, verdicts.UNIFORM),
    *(verdicts.COLLAPSED, verdicts.BETWEEN),
  }
