"""The promises of adapters, each with what to do if it is broken.

moe_lite/adapters/README.md has them in words.
"""

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from moe_lite.adapters.adapter import AdapterFactory, Site
from moe_lite.core import json_text, logical_axes, parameters, unknown_axes
from moe_lite.core.errors import UserError
from moe_lite.core.types import Tree
from moe_lite.routing.shared import Decision
from moe_lite.t5 import description
from moe_lite.t5.config import T5Config
from moe_lite.t5.contract import observing
from moe_lite.t5.contract.observing import Observed

# The least gradient that counts, and the greatest difference that does not.
_LEAST, _ROUNDING = 1e-6, 1e-5


@dataclasses.dataclass(frozen=True)
class Promise:
  """A promise of adapters or routers.

  Attributes:
    name: the promise, as what follows 'It'.
    broken: takes what was seen, and returns what breaks the promise; '' if
      nothing does.
    advice: what to do then.
  """

  name: str
  broken: Callable[[Any], str]
  advice: str


@dataclasses.dataclass(frozen=True)
class Result:
  """How a promise was kept.

  Attributes:
    promise: the promise.
    broken: from where it is broken, such as the name of a site, to how.
    checked: at how many places it was checked.
  """

  promise: Promise
  broken: Mapping[str, str]
  checked: int

  @property
  def is_kept(self) -> bool:
    """Whether the promise was checked, and was broken nowhere."""
    return self.checked > 0 and not self.broken


def wrong_axes(params: Tree, axes: Tree) -> str:
  """Returns the message for a parameter without legal axes, or ''."""
  try:
    unknown_axes.check(params, axes)
  except UserError as error:
    return str(error)
  return ''


def other_types(params: Tree) -> str:
  """Names the parameters that are not float32."""
  return '; '.join(
    f'{path} is {leaf.dtype}'
    for path, leaf in parameters.flatten(params).items()
    if leaf.dtype != jnp.float32
  )


def _other_sizes(seen: Observed) -> str:
  axes = parameters.flatten(seen.axes)
  problems = []
  for path, leaf in parameters.flatten(seen.params).items():
    for axis, size in zip(axes.get(path, ()), leaf.shape, strict=False):
      if axis not in logical_axes.OF_PARAMETERS or axis in logical_axes.SHORT:
        continue
      if size != (right := observing.SIZES.get(axis)):
        known = f'is {right} long here' if right else 'is not of this site'
        problems.append(
          f'{path} {list(leaf.shape)} has {size} along {axis!r}, which {known}'
        )
  return '; '.join(problems)


def _other_outputs(seen: Observed) -> str:
  wanted, made = seen.half
  if (wanted.shape, wanted.dtype) == (made.shape, made.dtype):
    return ''
  return (
    f'for outputs {wanted.dtype}{list(wanted.shape)} it returns '
    f'{made.dtype}{list(made.shape)}'
  )


def _change(seen: Observed) -> str:
  if seen.adapted.shape != seen.outputs.shape:
    return 'the shape of the outputs changes'
  difference = np.abs(seen.adapted - seen.outputs).max()
  return '' if difference == 0 else f'outputs change by up to {difference:.3g}'


def _idle(seen: Observed) -> str:
  idle = [
    path
    for path, size in seen.gradients.items()
    if not (size > _LEAST and np.isfinite(size))
  ]
  return f'the gradient is zero or not finite for {", ".join(idle)}' * bool(
    idle
  )


def _mixed_positions(seen: Observed) -> str:
  if seen.others <= _ROUNDING:
    return ''
  return (
    'if the tensors of one position change, what it returns at another one '
    f'changes by {seen.others:.3g}'
  )


def _not_described(seen: Observed) -> str:
  try:
    said = description.to_json(_network(seen.site, seen.factory))
    text = json_text.dumps(said)
    again = description.to_json(description.from_json(json.loads(text)))
  except (TypeError, ValueError) as error:
    return str(error)
  is_equal = json_text.dumps(again) == text
  return '' if is_equal else f'{said["adapters"]} becomes {again["adapters"]}'


def _network(site: Site, factory: AdapterFactory) -> T5Config:
  shares = 'shared' in observing.build(factory, site).needs
  decision = functools.partial(Decision, num_experts=observing.EXPERTS)
  return T5Config(
    vocab_size=8,
    emb_dim=observing.D,
    num_heads=observing.H,
    head_dim=observing.K,
    mlp_dim=observing.F,
    num_encoder_layers=1,
    num_decoder_layers=1,
    mlp_activations=('gelu',) if site.name == 'wi' else ('gelu', 'linear'),
    adapters={site.name: factory},
    decisions={'layer': decision} if shares else {},
  )


RUNS = Promise(
  'runs at its sites',
  lambda error: error,
  'Mend the line that is named. If the class cannot stand at this site, say so '
  'in `fits`.',
)
IDENTITY = Promise(
  'is the identity at initialisation, bit for bit in float32',
  _change,
  'Draw the parameters so that nothing is added: zeros for what is added, ones '
  'for what multiplies, zeros for the last of several matrices.',
)
AXES = Promise(
  'names the logical axes of every parameter',
  lambda seen: wrong_axes(seen.params, seen.axes),
  'Declare parameters with `partitioning.param`; docs/authoring.md has the '
  'table of axes.',
)
FLOAT32 = Promise(
  'has parameters in float32',
  lambda seen: other_types(seen.params),
  'Declare them with jnp.float32, and convert them where they are used.',
)
REBUILT = Promise(
  'can be built again from what a checkpoint says of it',
  _not_described,
  'Have fields of numbers, strings and booleans, in a class that stands at the '
  'top of its module.',
)
PROMISES = (
  AXES,
  Promise(
    'has the sizes of the network along its axes',
    _other_sizes,
    'Take the sizes from the tensors and the axes from the site. A short '
    "dimension of your own is a 'rank'.",
  ),
  FLOAT32,
  Promise(
    'keeps the shape and the type of the outputs',
    _other_outputs,
    'Convert what is added to `outputs.dtype`, and reshape it to '
    '`outputs.shape`.',
  ),
  IDENTITY,
  Promise(
    'learns every parameter',
    _idle,
    'Let the outputs depend on each parameter, or leave the parameter out.',
  ),
  Promise(
    'computes each position from that position alone',
    _mixed_positions,
    'Take no mean, maximum or product over positions: the decoder would see '
    'later tokens, and packed rows would see each other.',
  ),
  REBUILT,
)


def check(
  factory: AdapterFactory,
  sites: Sequence[Site],
  without: Sequence[Promise] = (),
) -> list[Result]:
  """Checks the promises of an adapter.

  Args:
    factory: what builds the adapter.
    sites: where to let it stand.
    without: promises that it does not make.

  Raises:
    UserError: if it cannot be built.
  """
  seen = observing.observe(factory, sites)
  errors = {at: x for at, x in seen.items() if isinstance(x, str)}
  ran = {at: x for at, x in seen.items() if isinstance(x, Observed)}
  made = [x for x in PROMISES if x not in without]
  return [
    Result(RUNS, errors, len(seen)),
    *(results(promise, ran) for promise in made),
  ]


def results(promise: Promise, seen: Mapping[str, Any]) -> Result:
  """Checks a promise at several places.

  Args:
    promise: the promise.
    seen: from the name of a place to what was seen there.
  """
  found = {place: promise.broken(x) for place, x in seen.items()}
  return Result(
    promise, {at: how for at, how in found.items() if how}, len(seen)
  )
