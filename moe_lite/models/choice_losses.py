"""The losses of answer choices: what T-Few adds to the loss of the right one.

A language model's loss looks at the right choice alone. Two more terms look at
all of them. One makes the tokens of wrong choices unlikely. The other is the
cross entropy of picking the right choice by the mean log-probability of its
tokens, as rank classification does.

Source: T-Few, arXiv 2205.05638, section 3.2, equations 1 and 2.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from moe_lite.core.types import Array


class ChoiceLosses(NamedTuple):
  """What is known of each example; the losses are float32 [B], in nats.

  Attributes:
    likelihood: the mean over the tokens of right choices of `-log p`.
    unlikelihood: the mean over the tokens of wrong choices of `-log(1 - p)`; 0
      if there is no wrong choice.
    choice: the cross entropy of the right choice, where the logit of a choice
      is the mean log-probability of its tokens.
    is_chosen: whether a right choice has the highest of these logits, bool [B].
  """

  likelihood: Array
  unlikelihood: Array
  choice: Array
  is_chosen: Array


def log_complement(logits: Array, targets: Array) -> Array:
  """Returns `log(1 - p)` of each token, float32 [...].

  It is computed from the logits of all other ids, and not from p. It is so
  exact where p is almost 1, and its gradient is at most 1 there.

  Args:
    logits: [..., V].
    targets: the ids of the tokens, [...].
  """
  logits = logits.astype(jnp.float32)
  # As in `losses.cross_entropy`, this works if the vocabulary is split.
  ids = jax.lax.broadcasted_iota(jnp.int32, logits.shape, logits.ndim - 1)
  others = jnp.where(ids == targets[..., None], -jnp.inf, logits)
  return jax.nn.logsumexp(others, axis=-1) - jax.nn.logsumexp(logits, axis=-1)


def choice_losses(
  log_p: Array, log_not_p: Array, is_token: Array, is_right: Array
) -> ChoiceLosses:
  """Computes the three terms from the probabilities of tokens.

  Args:
    log_p: the log-probability of each token of C choices, [B, C, T].
    log_not_p: `log(1 - p)` of the same tokens; see `log_complement`.
    is_token: whether there is a token, bool [B, C, T]. A choice without any
      only fills up the C choices, and takes no part.
    is_right: whether a choice is right, bool [B, C]. If several are, the
      probability that the third term looks at is their sum.
  """
  log_p, log_not_p = log_p.astype(jnp.float32), log_not_p.astype(jnp.float32)
  lengths = is_token.sum(-1)
  is_choice = lengths > 0
  right = is_token & is_right[..., None]
  wrong = is_token & ~is_right[..., None]
  totals = jnp.where(is_token, log_p, 0.0).sum(-1)
  means = totals / jnp.maximum(lengths, 1)
  # A difference of two -inf would be NaN, also in the gradient.
  absent = jnp.finfo(jnp.float32).min
  scores = jnp.where(is_choice, means, absent)
  right_scores = jnp.where(is_choice & is_right, means, absent)
  return ChoiceLosses(
    likelihood=-_mean(log_p, right),
    unlikelihood=-_mean(log_not_p, wrong),
    choice=jax.nn.logsumexp(scores, -1) - jax.nn.logsumexp(right_scores, -1),
    is_chosen=right_scores.max(-1) >= scores.max(-1),
  )


def _mean(values: Array, chosen: Array) -> Array:
  """The mean of the chosen tokens of each example, [B]; 0 if there are none."""
  total = jnp.where(chosen, values, 0.0).sum((-2, -1))
  return total / jnp.maximum(chosen.sum((-2, -1)), 1)
