"""Floating-point operations of matmuls, and the fewest that training needs.

Operations are counted in the program as it was traced, without what nothing
uses. The body of a scan counts as often as it runs, whereas XLA counts it once,
and the body of a Pallas kernel once for each point of its grid. How often a
`while_loop` runs, only its caller knows. A multiplication is one operation, and
so is an addition. All numbers are those of all chips together.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.extend import core
from jax.interpreters import partial_eval

from moe_lite.t5.config import T5Config


def of_matmuls(
  function: Callable[..., Any],
  *arguments: Any,
  loops: int = 1,
  only_int8: bool = False,
) -> int:
  """The operations of a function's matmuls, for arguments of these shapes.

  Args:
    function: the function.
    *arguments: the shapes of its arguments.
    loops: how often the body of a `while_loop` runs.
    only_int8: whether to count only products of int8 numbers.
  """
  closed = jax.make_jaxpr(function)(*arguments)
  jaxpr, _ = partial_eval.dce_jaxpr(
    closed.jaxpr, [True] * len(closed.jaxpr.outvars)
  )
  return _count(jaxpr, loops, only_int8)


@dataclasses.dataclass(frozen=True)
class Forward:
  """The operations of the forward pass of one row.

  Attributes:
    weights: the operations of products with weights.
    attention: the operations of products of activations with each other.
  """

  weights: int
  attention: int


def encoder(config: T5Config, inputs: int) -> Forward:
  """The operations of the encoder, for a row of `inputs` tokens."""
  attention, mlp = _of_a_token(config)
  pairs = config.num_encoder_layers * inputs**2
  return Forward(
    2 * config.num_encoder_layers * inputs * (2 * attention + mlp),
    4 * pairs * config.num_heads * config.head_dim,
  )


def decoder(config: T5Config, inputs: int, targets: int) -> Forward:
  """The operations of the decoder and the logits, for `targets` tokens."""
  attention, mlp = _of_a_token(config)
  weights = config.num_decoder_layers * (
    targets * (3 * attention + mlp) + inputs * attention
  )
  pairs = config.num_decoder_layers * targets * (targets + inputs)
  return Forward(
    2 * (weights + targets * config.emb_dim * config.vocab_size),
    4 * pairs * config.num_heads * config.head_dim,
  )


def decoding(
  config: T5Config, inputs: int, outputs: int, beams: int = 1
) -> int:
  """The fewest operations that one output, or a search, of an input needs.

  The keys and values of the input are computed once. A token attends to those
  before it.
  """
  encoded = encoder(config, inputs)
  attention, mlp = _of_a_token(config)
  layers, heads = config.num_decoder_layers, config.num_heads * config.head_dim
  of_token = 2 * (
    layers * (3 * attention + mlp) + config.emb_dim * config.vocab_size
  )
  pairs = layers * outputs * (inputs + (outputs + 1) // 2)
  return (
    encoded.weights
    + encoded.attention
    + 2 * layers * inputs * attention
    + beams * (outputs * of_token + 4 * pairs * heads)
  )


def training(config: T5Config, inputs: int, targets: int, is_full: bool) -> int:
  """The fewest operations that a training step needs for a row.

  The gradient of the activations costs as much as another forward pass through
  the weights, and the gradient of attention twice as much as attention. A
  frozen base needs no more than that; full fine-tuning also needs the gradient
  of the weights. Two small things are left out: the adapters themselves, and
  that no gradient is needed of what comes before the first adapter.
  """
  stacks = encoder(config, inputs), decoder(config, inputs, targets)
  weights = sum(stack.weights for stack in stacks)
  attention = sum(stack.attention for stack in stacks)
  return (3 if is_full else 2) * weights + 3 * attention


def _of_a_token(config: T5Config) -> tuple[int, int]:
  """The weights that a token meets in half of an attention, and in an MLP."""
  attention = 2 * config.emb_dim * config.num_heads * config.head_dim
  factors = len(config.mlp_activations)
  return attention, (factors + 1) * config.emb_dim * config.mlp_dim


def _count(jaxpr: core.Jaxpr, loops: int, only_int8: bool) -> int:
  total = 0
  for equation in jaxpr.eqns:
    name, params = equation.primitive.name, equation.params
    if name == 'dot_general':
      if not only_int8 or _is_int8(equation):
        total += _of_dot(equation)
      continue
    inner = [_count(sub, loops, only_int8) for sub in subprograms(params)]
    if name == 'cond':
      total += max(inner, default=0)
    else:
      total += _times(name, params, loops) * sum(inner)
  return total


def _times(name: str, params: dict[str, Any], loops: int) -> int:
  """How often what an equation calls runs."""
  if name == 'scan':
    return params['length']
  if name == 'while':
    return loops
  if name == 'pallas_call':
    return math.prod(params['grid_mapping'].grid)
  return 1


def _is_int8(equation: Any) -> bool:
  return all(x.aval.dtype == np.int8 for x in equation.invars)


def _of_dot(equation: Any) -> int:
  (contracted, _), _ = equation.params['dimension_numbers']
  left = equation.invars[0].aval.shape
  terms = math.prod(left[i] for i in contracted)
  return 2 * terms * math.prod(equation.outvars[0].aval.shape)


def subprograms(params: dict[str, Any]) -> Iterator[core.Jaxpr]:
  """Yields the programs that an equation with these parameters calls."""
  for value in params.values():
    for item in value if isinstance(value, tuple | list) else (value,):
      if isinstance(item, core.ClosedJaxpr):
        yield item.jaxpr
      elif isinstance(item, core.Jaxpr):
        yield item
