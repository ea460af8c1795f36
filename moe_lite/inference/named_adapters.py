"""Adapters by name over one base, which is in memory once."""

import dataclasses
import functools
import math
from collections.abc import Mapping

import jax
import numpy as np

from moe_lite.checkpoints import exported, formats
from moe_lite.checkpoints.description import check_same
from moe_lite.checkpoints.leaf_shapes import check_fits
from moe_lite.checkpoints.stages import told
from moe_lite.core import parameters, partitioning
from moe_lite.core.errors import UserError, nearest
from moe_lite.core.types import ADAPTER_SUFFIX, Tree
from moe_lite.inference.facts import Facts
from moe_lite.inference.trained import Trained
from moe_lite.models import layout
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.routing.router import is_number
from moe_lite.t5 import description
from moe_lite.t5.config import T5Config
from moe_lite.t5.tasks import known_tasks

# The name of the adapters that a model begins with. It is PEFT's.
DEFAULT = 'default'
# What to use: adapters by name, a mixture of them by weights, or none.
Which = str | Mapping[str, float] | None


class NamedAdapters:
  """Adapters over one base.

  Each is a model of its own, whose base is the arrays of the first model.
  """

  def __init__(self, first: Trained, name: str = DEFAULT):
    """Takes a model, with adapters or without.

    Args:
      first: the model.
      name: what to call its adapters, if it has any.
    """
    network = first.model.module
    config = dataclasses.replace(network.config, adapters={}, decisions={})
    self._base = dataclasses.replace(
      first,
      model=EncoderDecoderModel(network.clone(config=config)),
      params=_without_adapters(first.params),
      facts=dataclasses.replace(
        first.facts,
        checkpoint='base',
        step=None,
        method={},
        trainable_parameters=0,
        trainable_fingerprint=None,
        stages=None,
      ),
    )
    has_trained = first.facts.trainable_parameters > 0
    self._named = {name: first} if has_trained else {}
    self._source = first.facts.checkpoint
    adapters = parameters.adapters_of(first.params)
    self._is_base_trained = first.facts.trainable_parameters > parameters.count(
      adapters
    )

  @property
  def all(self) -> Mapping[str, Trained]:
    """The model of each name."""
    return self._named

  def add(self, name: str, path: str, step: int | None = None) -> None:
    """Reads adapters; see `loading.load` for what `path` and `step` may be.

    Raises:
      UserError: if the name is taken, or if they were trained on another base,
        or do not fit its network.
    """
    if name in self._named:
      raise UserError(f'{name!r} is the name of other adapters: give another.')
    self._check_base()
    leaves, said = formats.read_adapters(exported.local(path), step)
    check_same(path, said.base, self._base.facts.base)
    theirs = description.from_json(said.network_of(path))
    facts = dataclasses.replace(
      self._base.facts,
      checkpoint=path,
      step=said.step,
      method=said.method.sites,
      stages=told(said.stages) or None,
    )
    model, where = self._lay_out(theirs, path)
    unrolled = jax.eval_shape(parameters.unstack_layers, where.abstract)
    tree = parameters.unflatten(leaves)
    check_fits(tree, parameters.adapters_of(unrolled), path)
    self._named[name] = dataclasses.replace(
      self._over(model, where, tree, facts),
      tasks=known_tasks(path, theirs, said),
    )

  def find(self, which: Which) -> Trained:
    """Returns the model with adapters, or the base alone for None.

    Weights mix adapters of one method. Those of (IA)³ add up their differences
    from one, and those of LoRA their products `a b`.

    Raises:
      UserError: for an unknown name, or if the adapters cannot be mixed.
    """
    if which is None:
      self._check_base()
      return self._base
    if isinstance(which, str):
      if which not in self._named:
        names = sorted(self._named)
        raise UserError(
          f'{which!r} is not the name of adapters; there are '
          f'{", ".join(names) or "none"}.{nearest(which, names)}'
        )
      return self._named[which]
    if not which:
      raise UserError('Weights of adapters are missing: give {NAME: WEIGHT}.')
    for name, weight in which.items():
      if not (is_number(weight) and math.isfinite(weight)):
        raise UserError(
          f'The weight of {name!r} is {weight!r}, and must be a finite number.'
        )
    return self._mixed(which)

  def _check_base(self) -> None:
    if self._is_base_trained:
      raise UserError(
        f'{self._source} trained parameters of its base, so that other '
        'adapters do not belong over it. Give load() the base alone.'
      )

  def _mixed(self, weights: Mapping[str, float]) -> Trained:
    parts = [self.find(name) for name in weights]
    standing = [part.model.module.config.standing() for part in parts]
    if any(x.keys() != standing[0].keys() for x in standing):
      raise UserError(
        f'{", ".join(weights)} stand at different sites, so that they cannot '
        'be mixed.'
      )
    leaves = [
      parameters.flatten(
        parameters.unstack_layers(parameters.adapters_of(part.params))
      )
      for part in parts
    ]
    mixed, factories = {}, {}
    for site in standing[0]:
      there = [x[site] for x in standing]
      start = f'{site}{ADAPTER_SUFFIX}/'
      groups = {
        path.rpartition('/')[0]: None
        for path in leaves[0]
        if f'/{start}' in f'/{path}'
      }
      for group in groups:
        made, fields = there[0].mixed(
          there,
          [
            {
              path.removeprefix(f'{group}/'): np.asarray(leaf)
              for path, leaf in of_part.items()
              if path.startswith(f'{group}/')
            }
            for of_part in leaves
          ],
          list(weights.values()),
        )
        mixed.update({f'{group}/{name}': leaf for name, leaf in made.items()})
        factories[site] = functools.partial(type(there[0]), **fields)
    config = dataclasses.replace(
      parts[0].model.module.config, adapters=factories
    )
    name = ' + '.join(f'{weight:g} {x}' for x, weight in weights.items())
    model, where = self._lay_out(config, name)
    facts = dataclasses.replace(
      self._base.facts,
      checkpoint=name,
      method=description.describe_method(config),
    )
    return self._over(model, where, parameters.unflatten(mixed), facts)

  def _lay_out(
    self, theirs: T5Config, path: str
  ) -> tuple[EncoderDecoderModel, layout.Layout]:
    """Makes the model of adapters in the form of the base."""
    network = self._base.model.module
    if problems := description.other_sizes(theirs, network.config):
      raise UserError(
        f'{path} stands on a network of other sizes than the base: '
        f'{"; ".join(problems)}.'
      )
    config = dataclasses.replace(
      network.config, adapters=theirs.adapters, decisions=theirs.decisions
    )
    model = EncoderDecoderModel(network.clone(config=config))
    where = layout.layout(model, parameters.EVERYTHING, self._base.mesh)
    return model, where

  def _over(
    self,
    model: EncoderDecoderModel,
    where: layout.Layout,
    leaves: Tree,
    facts: Facts,
  ) -> Trained:
    """Puts adapters over the base."""
    form = parameters.like_network(leaves, model.module.config.scan_layers)
    places = parameters.flatten(where.hold('float32'))
    placed = {
      path: partitioning.put(np.asarray(leaf), places[path].format)
      for path, leaf in parameters.flatten(form).items()
    }
    params = {**parameters.flatten(self._base.params), **placed}
    facts = dataclasses.replace(
      facts,
      trainable_parameters=parameters.count(leaves),
      trainable_fingerprint=parameters.fingerprint(leaves),
    )
    return dataclasses.replace(
      self._base,
      model=model,
      params=parameters.unflatten(params),
      facts=facts,
    )


def _without_adapters(params: Tree) -> Tree:
  leaves = parameters.flatten(params)
  return parameters.unflatten(
    {x: y for x, y in leaves.items() if not parameters.is_adapter(x)}
  )
