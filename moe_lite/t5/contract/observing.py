"""What an adapter does at one site, seen on a few random tokens."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np

from moe_lite.adapters.adapter import Adapter, AdapterFactory, Site
from moe_lite.core import parameters, partitioning
from moe_lite.core.errors import UserError
from moe_lite.core.types import Array, Axes, DType, Tree
from moe_lite.process import boundary
from moe_lite.routing.context import Context
from moe_lite.t5.config import ATTENTION_SITES, mlp_sites

# They differ, so that no axis passes for another one.
B, L, D, H, K, F = 2, 5, 8, 4, 6, 12
# How many experts a router has here.
EXPERTS = 3
# The sizes of the axes of activations and weights.
SIZES = {'embed': D, 'heads': H, 'kv': K, 'joined_kv': H * K, 'mlp': F}
# The sites of a gated MLP and of one that is not gated.
SITES = {**ATTENTION_SITES, **mlp_sites(2), **mlp_sites(1)}
# The position whose tensors are changed.
_CHANGED = 1


@dataclasses.dataclass(frozen=True)
class Observed:
  """What an adapter does at one site.

  Attributes:
    factory: what builds the adapter.
    site: the site.
    params: the shapes of its parameters at initialisation.
    axes: their logical axes. A parameter that has none is left out.
    half: the shapes of the outputs in bfloat16, and of what it makes of them.
    outputs: the outputs in float32.
    adapted: what it makes of them at initialisation.
    gradients: the greatest size of the gradient of each parameter, away from
      the initial values.
    others: by how much another position changes, at most, if the tensors of one
      position change. It is 0 in the encoder, where routers may read all of an
      example.
  """

  factory: AdapterFactory
  site: Site
  params: Tree
  axes: Tree
  half: tuple[Any, Any]
  outputs: np.ndarray
  adapted: np.ndarray
  gradients: Mapping[str, float]
  others: float


def build(factory: AdapterFactory, site: Site) -> Adapter:
  """Builds an adapter at a site, outside of any network.

  Raises:
    UserError: if it has fields that must be given.
  """
  try:
    return factory(site=site, parent=None)
  except TypeError as error:
    raise UserError(needs_fields(error)) from error


def needs_fields(error: TypeError) -> str:
  """Says what to do if a class cannot be built without more fields."""
  return (
    f'The class cannot be built as it is: {error}. Give its fields defaults, '
    'or name a `functools.partial` of it that sets them.'
  )


def sites(factory: AdapterFactory) -> dict[str, Site]:
  """Returns the sites that an adapter fits, by name.

  Raises:
    UserError: if it fits none.
  """
  fitting = {
    name: site
    for name, site in SITES.items()
    if build(factory, site).fits(site)
  }
  if not fitting:
    raise UserError(
      f'`fits` accepts none of the sites of T5: {", ".join(SITES)}.'
    )
  return fitting


def one_of_each_shape(fitting: Mapping[str, Site]) -> list[Site]:
  """Returns a site for each pair of axes that there is among the sites."""
  first: dict[tuple[Axes, Axes], Site] = {}
  for site in fitting.values():
    first.setdefault((site.in_axes, site.out_axes), site)
  return list(first.values())


def tensors(
  site: Site, dtype: DType = jnp.float32
) -> tuple[Array, Array, Context]:
  """Draws inputs and outputs at a site, and all that a context may have.

  Returns:
    [B, L, *in_axes], [B, L, *out_axes], and the context of an encoder.
  """
  rng = np.random.default_rng(0)

  def draw(axes: Axes) -> Array:
    sizes = [SIZES[axis] for axis in axes]
    return jnp.asarray(rng.normal(size=(B, L, *sizes)), dtype)

  mask = jnp.asarray([[True] * L, [True] + [False] * (L - 1)])
  tokens = jnp.asarray(rng.integers(1, 99, (B, L)), jnp.int32)
  sentence = jnp.asarray(rng.normal(size=(B, 1, D)), dtype)
  logits = jnp.asarray(rng.normal(size=(B, L, EXPERTS)), jnp.float32)
  context = Context(
    mask,
    tokens,
    sentence,
    sentence,
    sentence,
    task=jnp.asarray([[1, 2, 3, 1, 2], [2, 0, 0, 0, 0]]),
    example=mask[:, None],
    shared=jax.nn.softmax(logits),
  )
  return draw(site.in_axes), draw(site.out_axes), context


def observe(
  factory: AdapterFactory, sites: Sequence[Site]
) -> dict[str, Observed | str]:
  """Runs an adapter at sites.

  It stands in a decoder. If its router reads the rest of an example, which it
  can do in an encoder alone, it stands there, too.

  Returns:
    What it does at each place, or the error that it raises in words.
  """
  found = {}
  for site in sites:
    adapter = build(factory, site)
    found[site.name] = _try(factory, adapter, site, True)
    if 'example' in adapter.needs:
      place = f'{site.name} of the encoder'
      found[place] = _try(factory, adapter, site, False)
  return found


def said(error: Exception) -> str:
  """Returns what went wrong in a class, and in which of its lines."""
  explained = boundary.explain(error)
  if explained is not None:
    return str(explained)
  return f'{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}'


def axes_of(variables: Tree) -> Tree:
  """Returns the logical axes of those parameters that have any."""
  named = variables.get('params_axes')
  return partitioning.axis_names(named) if named else {}


def away(params: Tree, key: Array) -> Tree:
  """Moves parameters away from their initial values.

  There, some gradients are zero by design: of LoRA's `a` while `b` is zero, and
  of routers while experts are equal.
  """
  leaves, structure = jax.tree.flatten(params)
  noise = [0.3 * jax.random.normal(key, leaf.shape) for leaf in leaves]
  return jax.tree.map(jnp.add, params, jax.tree.unflatten(structure, noise))


def _try(*arguments: Any) -> Observed | str:
  try:
    return _observe(*arguments)
  except Exception as error:
    return said(error)


def _observe(
  factory: AdapterFactory, adapter: Adapter, site: Site, in_decoder: bool
) -> Observed:
  key = jax.random.key(0)
  half = tensors(site, jnp.bfloat16)
  made, _ = jax.eval_shape(adapter.init_with_output, key, *half)
  inputs, outputs, context = tensors(site)
  if in_decoder:  # Its positions must not see later ones.
    context = context.replace(example=None)
  variables = jax.eval_shape(adapter.init, key, inputs, outputs, context)

  # One program for everything, because compilation is what takes the time.
  @jax.jit
  def run(key: Array) -> tuple[Array, Tree, Array]:
    adapted, drawn = adapter.init_with_output(key, inputs, outputs, context)

    # Rows as they are, and the same rows changed at one position.
    change = lambda x: jnp.concatenate([x, x.at[:, _CHANGED].add(1)])
    twice = jax.tree.map(lambda x: jnp.concatenate([x, x]), context)

    def squares(params: Tree) -> tuple[Array, Array]:
      result = adapter.apply(
        {'params': params}, change(inputs), change(outputs), twice
      )
      return jnp.sum(jnp.square(result)), result

    moved = away(drawn.get('params', {}), key)
    gradients, result = jax.grad(squares, has_aux=True)(moved)
    difference = jnp.abs(result[B:] - result[:B])
    others = jnp.delete(difference, _CHANGED, axis=1).max()
    return adapted, jax.tree.map(lambda x: jnp.abs(x).max(), gradients), others

  adapted, gradients, others = run(key)
  return Observed(
    factory=factory,
    site=site,
    params=flax.core.unfreeze(variables.get('params', {})),
    axes=axes_of(variables),
    half=(half[1], made),
    outputs=np.asarray(outputs),
    adapted=np.asarray(adapted),
    gradients={
      path: float(size) for path, size in parameters.flatten(gradients).items()
    },
    others=float(others) if in_decoder else 0.0,
  )
