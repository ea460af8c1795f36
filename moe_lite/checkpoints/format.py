"""What the package knows of one form in which parameters lie on disk.

A new form is a module with a subclass of `Format`, or of `BaseFormat` where
bases come in that form, and a line in the table of `formats`. Nothing else asks
which form it is.

The `path` of every method is what `formats.local` gives: a folder, a file, or
an address in a bucket.
"""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from moe_lite.checkpoints import lazy_arrays
from moe_lite.checkpoints.description import Description
from moe_lite.checkpoints.lazy_arrays import Stored
from moe_lite.checkpoints.metadata import read_metadata
from moe_lite.checkpoints.stages import told
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.core.types import Tree


@dataclasses.dataclass(frozen=True)
class Found:
  """What `convert inspect` shows of a path.

  Attributes:
    kind: what lies there, in words.
    leaves: path to shape and type of every leaf, layers apart.
    facts: what the files say beside that, in the order in which it is shown.
    fingerprint: that of the leaves; see `parameters.fingerprint`.
  """

  kind: str
  leaves: Mapping[str, tuple[tuple[int, ...], str]]
  facts: Mapping[str, Any]
  fingerprint: str

  @classmethod
  def of_tree(cls, kind: str, tree: Tree, facts: Mapping[str, Any]) -> 'Found':
    """Makes it of leaves that are in memory."""
    leaves = {
      name: (tuple(leaf.shape), np.dtype(leaf.dtype).name)
      for name, leaf in parameters.flatten(tree).items()
    }
    return cls(kind, leaves, facts, parameters.fingerprint(tree))

  @classmethod
  def of_trained(cls, kind: str, tree: Tree, said: Description) -> 'Found':
    """Makes it of what a run trained, and of what that says of itself."""
    base = f'{said.base.source} (fingerprint {said.base.fingerprint})'
    sites = {f'at {site}': what for site, what in said.method.sites.items()}
    facts = {'step': said.step, 'base': base, **sites, **told(said.stages)}
    return cls.of_tree(kind, tree, facts)


class Format(abc.ABC):
  """One form in which parameters lie on disk.

  Attributes:
    name: what lies there, in words.
    has_steps: whether it holds several checkpoints, which a step tells apart.
  """

  name: ClassVar[str]
  has_steps: ClassVar[bool] = False

  @abc.abstractmethod
  def is_at(self, path: str) -> bool:
    """Whether something of this form lies there, whole or damaged."""

  @abc.abstractmethod
  def inspect(self, path: str) -> Found:
    """What is shown of it; raises UserError if it is damaged."""

  def describe(self, path: str, step: int | None = None) -> Description | None:
    """What was trained says of itself; None where nothing does.

    Args:
      path: where it lies.
      step: the step of the checkpoint, for forms that have steps; None takes
        the last one.

    Raises:
      UserError: if it is damaged, or has no such step.
    """
    return None

  def trained(
    self, path: str, step: int | None = None, assumed: Description | None = None
  ) -> tuple[Tree, Description] | None:
    """Reads what a run trained; None where this form does not hold that.

    Args:
      path: where it lies.
      step: see `describe`.
      assumed: what to take it for where it does not describe itself.

    Returns:
      The trained parameters, layers apart, as NumPy arrays; and what they say
      of themselves.

    Raises:
      UserError: if it is damaged, or has no such step.
    """
    return None

  def says(self, path: str) -> Any:
    """What its files say that is used, beside the leaves, for JSON."""
    return None


class BaseFormat(Format):
  """A form in which bases come."""

  @abc.abstractmethod
  def open(self, path: str, step: int | None = None) -> dict[str, Stored]:
    """Path to array of all parameters, which nobody checks.

    Layers are stacked where the files stack them. Args and errors are those of
    `arrays`, which others call.
    """

  def arrays(self, path: str, step: int | None = None) -> dict[str, Stored]:
    """Path to array of all parameters, none of which has been read yet.

    Each is checked when it is read; see `lazy_arrays.checked`.

    Args:
      path: where it lies.
      step: see `describe`.

    Raises:
      UserError: if it is damaged, or holds no base.
    """
    return lazy_arrays.checked(path, self.open(path, step), self.digests(path))

  def digests(self, path: str) -> Mapping[str, str] | None:
    """Path to digest of each leaf, as it was saved; None where none was."""
    return None

  def fingerprint(self, path: str) -> str | None:
    """The fingerprint of the base, as it was saved; None where none was."""
    return None

  def network(self, path: str) -> Mapping[str, Any] | None:
    """The network that the base says it is of; None where it does not say.

    It is in the form of `t5.description.to_json`.
    """
    return read_metadata(path).get('network')

  def check(self, path: str, wanted: Any, given: str) -> None:
    """Checks what shapes do not tell, such as activations.

    Args:
      path: where the base lies.
      wanted: the config of the network that is to use it.
      given: the path as the user gave it, for the message.

    Raises:
      UserError: if the base says that it is of another network.
    """
    problems = []
    for name, said in (self.network(path) or {}).items():
      now = getattr(wanted, name, said)
      now = list(now) if isinstance(now, tuple) else now
      if name not in ('adapters', 'decisions') and now != said:
        problems.append(
          f'{name} {said} in the base, {now} in the models/ gin file'
        )
    if problems:
      raise UserError(
        f'The base {given} does not fit the network: {"; ".join(problems)}. '
        'Give the gin file of this base, or a base of that size.'
      )

  def text(self, path: str) -> dict[str, Any]:
    """How texts become ids for the base, as far as it says."""
    return read_metadata(path).get('text', {})

  def says(self, path: str) -> Any:
    return {'network': self.network(path), 'text': self.text(path)}

  def facts(self, path: str) -> dict[str, Any]:
    """What its files say of it, beside the leaves."""
    return read_metadata(path)

  def origin(self, path: str, step: int | None = None) -> dict[str, Any]:
    """What a base that is made of this one says of where it is from."""
    facts = {**self.facts(path), 'source': path}
    text = self.text(path)
    return {**facts, 'text': text} if text else facts

  def inspect(self, path: str) -> Found:
    arrays = self.arrays(path)
    fingerprint = lazy_arrays.fingerprint(arrays)
    facts = {**self.facts(path), 'fingerprint': fingerprint}
    leaves = lazy_arrays.unrolled(arrays)
    adapters = sum(bool(parameters.is_adapter(name)) for name in leaves)
    more = f' with {adapters} leaves of adapters' if adapters else ''
    shown = {name: (x.shape, x.dtype.name) for name, x in leaves.items()}
    return Found(self.name + more, shown, facts, fingerprint)
