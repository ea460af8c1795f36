"""The adapters that a run begins with, where it does not draw all of them.

They are those of a run, of an export, of the hub, or of PEFT. They are taken by
their paths. A mixture may begin from a single expert, or from fewer experts;
see `Adapter.begin_from`.
"""

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from moe_lite.adapters.adapter import Adapter
from moe_lite.adapters.growing import more_experts
from moe_lite.adapters.merged import Merging, merged
from moe_lite.checkpoints import exported, formats, stages
from moe_lite.checkpoints.description import NOT_RECORDED, BaseInfo, Description
from moe_lite.checkpoints.leaf_shapes import difference, shapes
from moe_lite.checkpoints.peft import config as peft_config
from moe_lite.checkpoints.peft import folder as peft_folder
from moe_lite.core import parameters
from moe_lite.core.errors import UserError, nearest, some
from moe_lite.core.types import ADAPTER_SUFFIX, Tree
from moe_lite.t5.config import T5Config
from moe_lite.t5.description import (
  describe_method,
  describe_run,
  from_json,
  other_sizes,
)

# The path of a leaf of an adapter: the adapter, its site, and the rest.
_LEAF = re.compile(rf'(.*?([^/]+){ADAPTER_SUFFIX})/(.*)').fullmatch


@dataclasses.dataclass(frozen=True)
class InitialAdapters:
  """Adapters to begin with.

  Attributes:
    source: where they are from, as the user named it.
    leaves: path to leaf, layers apart, float32.
    drawn: the paths of the adapters' leaves that they lack.
    base: the base under them; its fingerprint may be `NOT_RECORDED`.
    stages: the stages that led to them; see `stages`.
    notes: what is done with them, in words.
    tasks: the tasks that their experts belong to; see `Description.tasks`.
  """

  source: str
  leaves: Mapping[str, np.ndarray]
  drawn: Sequence[str]
  base: BaseInfo
  stages: Sequence[Mapping[str, Any]]
  notes: Sequence[str]
  tasks: Mapping[str, Any] | None = None

  def __str__(self) -> str:
    return f'adapters: those of {self.source}; {"; ".join(self.notes)}'


def read(
  source: str | None,
  network: T5Config,
  wanted: Tree,
  noise: float = 0.0,
  seed: int = 0,
  merging: Merging | None = None,
) -> InitialAdapters | None:
  """Reads adapters, and makes those of a network of them.

  The result is None if there is no source, so that all adapters are drawn.

  Args:
    source: the MODEL_DIR of a run; an export, or its address on the hub; a T5X
      checkpoint of a run; or a folder of PEFT's. None takes nothing.
    network: the network, with its adapters.
    wanted: the shapes of its parameters, layers apart.
    noise: the standard deviation, relative to each number, of what is added to
      the copies of an expert, so that they can part.
    seed: the seed of that.
    merging: how one expert is made of all experts of a mixture; None refuses to
      begin one expert from a mixture.

  Raises:
    UserError: if there are none, if they do not fit the network, or if there
      are no copies for the noise.
  """
  if source is None:
    if noise:
      raise _no_copies(noise, 'there are none without INITIAL_ADAPTERS')
    return None
  found, there, description = _read(source, network)
  if problems := other_sizes(there, network):
    raise UserError(
      f'INITIAL_ADAPTERS = {source!r} stands on a network of other sizes: '
      f'{"; ".join(problems)}. Give the models/ file that it was trained with.'
    )
  adapters = parameters.flatten(parameters.adapters_of(wanted))
  if not adapters:
    raise UserError(
      f'INITIAL_ADAPTERS = {source!r}, but this run has no adapters: give a '
      'methods/ file with adapters.'
    )
  taken, kinds = _begin(source, found, there, network, adapters, merging)
  problem = difference(shapes(taken), shapes({x: adapters[x] for x in taken}))
  if problem:
    raise UserError(
      f'INITIAL_ADAPTERS = {source!r} does not fit this run: {problem}'
    )
  grown = [
    x
    for x, leaf in taken.items()
    if x not in found or leaf.shape != found[x].shape
  ]
  if noise and not grown:
    raise _no_copies(noise, f'{source} becomes the same adapters here')
  if noise:
    taken = {**taken, **_parted({x: taken[x] for x in grown}, noise, seed)}
  drawn = sorted(adapters.keys() - taken.keys())
  return InitialAdapters(
    source,
    taken,
    drawn,
    description.base,
    stages.after(source, description, parameters.fingerprint(found)),
    [
      *_notes(kinds, len(taken), drawn, grown, noise),
      *_differences(there, network),
    ],
    description.tasks if 'task' in there.context_needs else None,
  )


def begun(
  source: str,
  tree: Tree,
  there: T5Config,
  network: T5Config,
  wanted: Tree,
  merging: Merging | None = None,
) -> dict[str, np.ndarray]:
  """Makes all adapters of a network of those of another one.

  Args:
    source: where they are from, for messages.
    tree: the adapters, layers apart.
    there: the network that they are of.
    network: the network that is to have them.
    wanted: the shapes of its parameters, layers apart.
    merging: see `read`.

  Returns:
    Path to leaf.

  Raises:
    UserError: if they do not fit, or if some of its leaves would be drawn.
  """
  adapters = parameters.flatten(parameters.adapters_of(wanted))
  found = parameters.flatten(tree)
  taken, _ = _begin(source, found, there, network, adapters, merging)
  problem = difference(shapes(taken), shapes(adapters))
  if problem:
    raise UserError(f'{source} does not give these adapters: {problem}')
  return taken


def _read(
  source: str, network: T5Config
) -> tuple[dict[str, np.ndarray], T5Config, Description]:
  """Reads path to leaf, the network of the adapters, and what they say."""
  path = exported.local(source)
  trainable = parameters.TRAINABLE_ADAPTERS
  unknown = BaseInfo('not recorded', NOT_RECORDED)
  if peft_config.is_peft(path):
    leaves, standing = peft_folder.read(path, network)
    there = dataclasses.replace(network, adapters=standing, decisions={})
    said = Description(describe_run(there, trainable), unknown)
  else:
    # A T5X checkpoint of an early version does not describe itself.
    assumed = Description(describe_run(network, trainable), unknown)
    leaves, said = formats.read_adapters(path, None, assumed)
    there = from_json(said.network_of(source))
  found = {x: np.asarray(leaf, np.float32) for x, leaf in leaves.items()}
  return found, there, said


def _begin(
  source: str,
  found: Mapping[str, np.ndarray],
  there: T5Config,
  network: T5Config,
  wanted: Mapping[str, Any],
  merging: Merging | None,
) -> tuple[dict[str, np.ndarray], dict[str, tuple[str, str]]]:
  """Makes the leaves of a network of those of another one.

  Returns:
    Path to leaf; and for each site the kind of adapter there, and here.
  """
  groups: dict[tuple[str, str], dict[str, np.ndarray]] = defaultdict(dict)
  for path, leaf in found.items():
    match = _LEAF(path)
    assert match is not None  # It is the path of an adapter's leaf.
    groups[match[1], match[2]][match[3]] = leaf
  here = {match[1] for match in map(_LEAF, wanted) if match}
  before, now = there.standing(), network.standing()
  decided, decides = there.deciding(), network.deciding()
  taken, kinds = {}, {}
  random = None if merging is None else merging.random()
  for (adapter, site), params in groups.items():
    if adapter not in here:
      places = sorted({*network.standing(), *network.decisions})
      raise UserError(
        f'INITIAL_ADAPTERS = {source!r} has an adapter at {adapter}, and this '
        f'run has none there; it has them at {some(places)}. Give a methods/ '
        'file with all adapters of the source. TRAINABLE may leave out those '
        f'that should not train.{nearest(site, places)}'
      )
    if site in now:
      old, new = before[site], now[site]
      if merging is not None and random is not None and _is_merge(old, new):
        made = merged(new, old, params, merging, random)
      else:
        made = new.begin_from(old, params)
      kinds[site] = type(before[site]).__name__, type(now[site]).__name__
    else:  # It is a decision, which has the leaves of its router.
      made = more_experts(decides[site], decided[site], params)
      kinds[site] = ('a decision', 'a decision')
    taken.update({f'{adapter}/{name}': leaf for name, leaf in made.items()})
  # A router of another kind may have none of the leaves.
  return {x: leaf for x, leaf in taken.items() if x in wanted}, kinds


def _is_merge(before: Adapter, now: Adapter) -> bool:
  """Whether several experts become one."""
  return hasattr(before, 'num_experts') and not hasattr(now, 'num_experts')


def _no_copies(noise: float, why: str) -> UserError:
  return UserError(
    f'EXPERT_NOISE = {noise!r} is for copies of experts, and {why}. Leave it '
    'out.'
  )


def _parted(
  leaves: Mapping[str, np.ndarray], noise: float, seed: int
) -> dict[str, np.ndarray]:
  """Multiplies every number by a draw around one."""
  key = jax.random.key(seed)
  parted = {}
  for i, (path, leaf) in enumerate(sorted(leaves.items())):
    draw = jax.random.normal(jax.random.fold_in(key, i), leaf.shape)
    parted[path] = np.asarray(leaf * (1 + noise * np.asarray(draw)), leaf.dtype)
  return parted


def _differences(there: T5Config, now: T5Config) -> list[str]:
  """Says where adapters of one class differ, as by another router.

  The first step is not that of the source then.
  """
  before, here = describe_method(there), describe_method(now)
  kind = lambda text: text.partition('(')[0]
  pairs = {
    (before[site], here[site]): site
    for site in before.keys() & here.keys()
    if before[site] != here[site] and kind(before[site]) == kind(here[site])
  }
  return [
    f'at {site} it was {old} and is {new}'
    for (old, new), site in sorted(pairs.items())
  ]


def _notes(
  kinds: Mapping[str, tuple[str, str]],
  count: int,
  drawn: Sequence[str],
  grown: Sequence[str],
  noise: float,
) -> list[str]:
  """Says what is taken, what grows and what is drawn."""
  pairs = Counter(kinds.values())
  what = ', '.join(
    old if old == new else f'{old} as {new}' for old, new in pairs
  )
  notes = [f'{count} leaves are taken ({what})']
  if grown:
    parted = f', times 1 plus draws of {noise:g}' if noise else ''
    notes.append(f'{len(grown)} of them are copies of experts{parted}')
  if drawn:
    kept = Counter(re.sub(r'layers_\d+', 'layers_*', x) for x in drawn)
    notes.append(f'{len(drawn)} are drawn: {some(sorted(kept))}')
  return notes
