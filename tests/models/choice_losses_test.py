"""The losses of answer choices against plain NumPy, one choice at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moe_lite.models import choice_losses, losses
from tests.golden import reader as golden

V = 13
# The ids of each choice; the first example has two choices, and a filler.
TARGETS = np.array(
  [
    [[5, 6, 1, 0], [7, 1, 0, 0], [0, 0, 0, 0]],
    [[4, 1, 0, 0], [8, 9, 10, 1], [5, 4, 1, 0]],
  ]
)
RIGHT = np.array([[False, True, False], [True, False, False]])


def random_logits(seed=0, scale=2.0):
  rng = np.random.default_rng(seed)
  return (rng.normal(size=(*TARGETS.shape, V)) * scale).astype('f4')


def computed(logits, targets=TARGETS, right=RIGHT):
  token_losses, _ = losses.cross_entropy(logits, targets)
  complement = choice_losses.log_complement(logits, targets)
  return choice_losses.choice_losses(
    -token_losses, complement, jnp.asarray(targets > 0), jnp.asarray(right)
  )


def naive(logits, targets=TARGETS, right=RIGHT):
  """The equations of the paper, in float64, in loops."""
  p = np.exp(logits.astype(np.float64))
  p /= p.sum(-1, keepdims=True)
  found = []
  for b in range(len(targets)):
    means, likely, unlikely = [], [], []
    for c in range(targets.shape[1]):
      tokens = [p[b, c, t, i] for t, i in enumerate(targets[b, c]) if i > 0]
      if not tokens:
        continue
      means.append((np.mean(np.log(tokens)), right[b, c]))
      if right[b, c]:
        likely += [-np.log(x) for x in tokens]
      else:
        unlikely += [-np.log(1 - x) for x in tokens]
    total = sum(np.exp(mean) for mean, _ in means)
    chosen = sum(np.exp(mean) for mean, is_right in means if is_right)
    terms = np.mean(likely), np.mean(unlikely), -np.log(chosen / total)
    found.append((*terms, max(means)[1]))
  return np.array(found).T


def test_terms_are_those_of_the_paper():
  logits = random_logits()
  np.testing.assert_allclose(computed(logits), naive(logits), rtol=1e-5)


def test_several_right_choices_share_their_probability():
  logits, right = random_logits(1), np.array([[True, False, False]] * 2)
  right[1, 2] = True
  np.testing.assert_allclose(
    computed(logits, right=right), naive(logits, right=right), rtol=1e-5
  )


def test_what_fills_up_changes_nothing():
  logits = random_logits(2)
  wider = np.pad(logits, ((0, 0), (0, 2), (0, 3), (0, 0)))
  targets = np.pad(TARGETS, ((0, 0), (0, 2), (0, 3)))
  right = np.pad(RIGHT, ((0, 0), (0, 2)))
  np.testing.assert_allclose(
    computed(wider, targets, right), computed(logits), rtol=1e-6
  )


def test_a_single_choice_has_nothing_to_be_picked_from():
  terms = computed(random_logits()[:, :1], TARGETS[:, :1], RIGHT[:, :1] | True)
  np.testing.assert_array_equal(terms.unlikelihood, 0)
  np.testing.assert_array_equal(terms.choice, 0)


@pytest.mark.parametrize('scale', [2.0, 100.0])
def test_gradients_are_finite_and_small(scale):
  """Also where a token of a wrong choice has all probability."""

  def total(logits):
    terms = computed(logits)
    return terms.likelihood.sum() + terms.unlikelihood.sum(), terms.choice.sum()

  for term in (0, 1):
    grads = jax.grad(lambda x, term=term: total(x)[term])(
      random_logits(3, scale)
    )
    assert np.isfinite(grads).all() and np.abs(grads).max() <= 1


def test_gradients_are_those_of_differences():
  logits = random_logits(4, 1.0)[1:]
  targets, right = TARGETS[1:], RIGHT[1:]
  weights = np.array([1.0, 0.7, 0.3, 0.0])

  def total(x):
    return jnp.stack(computed(x, targets, right)).T @ weights

  grads = jax.grad(lambda x: total(x).sum())(logits)
  direction = np.random.default_rng(5).normal(size=logits.shape)
  ahead, behind = (
    (weights @ naive(logits + step * direction, targets, right)).sum()
    for step in (1e-5, -1e-5)
  )
  np.testing.assert_allclose(
    (grads * direction).sum(), (ahead - behind) / 2e-5, rtol=1e-3
  )


def test_terms_are_those_of_the_released_code():
  """Its means over a batch weigh tokens alike, and our examples are means.

  Its unlikelihood adds 0.01 to `1 - p`, and also sums up `-log(1.01)` for each
  place that is no token of a wrong choice.
  """
  released = np.load(golden.FOLDER / 'library' / 'tfew_losses.npz')
  logits, targets = released['logits'], released['labels']
  right = np.arange(targets.shape[1]) == released['right'][:, None]
  terms = computed(logits, targets, right)
  lengths = released['lengths']
  of_released = lambda name: released[f'length_norm_1/{name}_loss']
  np.testing.assert_allclose(
    np.average(terms.likelihood, weights=lengths[right]),
    of_released('lm'),
    rtol=1e-5,
  )
  np.testing.assert_allclose(terms.choice.mean(), of_released('mc'), rtol=1e-5)
  predicted = released['length_norm_1/prediction']
  np.testing.assert_array_equal(terms.is_chosen, predicted == released['right'])

  complement = np.exp(choice_losses.log_complement(logits, targets))
  wrong = (targets > 0) & ~right[..., None]
  theirs = -np.log(np.where(wrong, complement, 1.0) + 0.01).sum() / wrong.sum()
  np.testing.assert_allclose(theirs, of_released('unlikely'), rtol=1e-5)
  counts = wrong.sum((1, 2))
  np.testing.assert_allclose(
    np.average(terms.unlikelihood, weights=counts),
    -np.log(complement[wrong]).mean(),
    rtol=1e-5,
  )
