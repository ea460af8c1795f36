"""The method that a run trains, and the check that two methods are the same."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from moe_lite.core.errors import UserError


@dataclasses.dataclass(frozen=True)
class Method:
  """What a run trains, in which network.

  Attributes:
    trainable: a regular expression over the paths of what trains; see
      `parameters.split`.
    sites: the adapter at every site in words, such as {'key': 'IA3()'}.
    network: what `description.to_json` returns. It is None in checkpoints of
      versions that did not write it.
  """

  trainable: str
  sites: Mapping[str, str]
  network: Mapping[str, Any] | None = None

  @classmethod
  def from_json(cls, said: Mapping[str, Any]) -> 'Method':
    """Reads what `to_json` returned, or what an earlier version wrote.

    Raises:
      KeyError: if an entry is missing that every version wrote.
    """
    return cls(said['trainable'], said['method'], said.get('network'))

  def to_json(self) -> dict[str, Any]:
    """Returns the method as values that JSON can hold."""
    said = {'trainable': self.trainable, 'method': dict(self.sites)}
    if self.network is not None:
      said['network'] = dict(self.network)
    return said


def check_method(run: str, saved: Method, now: Method) -> None:
  """Checks that a run was trained with the method of this command.

  Methods may differ although their parameters have the same shapes.

  Args:
    run: the folder of the run, for the message.
    saved: the method that the run's checkpoint stores.
    now: the method of this command; see `description.describe_run`.

  Raises:
    UserError: if the two methods differ. The message lists the differences.
  """
  lines = []
  if saved.trainable != now.trainable:
    lines.append(
      f'TRAINABLE: {saved.trainable!r} in the run, {now.trainable!r} in this '
      'command.'
    )
  for site in sorted({*saved.sites, *now.sites}):
    old, new = (x.sites.get(site, 'nothing') for x in (saved, now))
    if old != new:
      lines.append(f'ADAPTERS at {site}: {old} in the run, {new} now.')
  if lines:
    raise UserError(
      f'The run {run} trained another method than this command names:\n'
      + '\n'.join(f'  {line}' for line in lines)
      + '\nGive the methods/ and routers/ files and the macros that it was '
      'trained with, which are in its config.gin, or give another run.'
    )
