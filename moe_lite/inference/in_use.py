"""The adapters over a base that are in use, and what is compiled for them."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from moe_lite.core import json_text
from moe_lite.core.errors import UserError
from moe_lite.inference.programs import Programs
from moe_lite.inference.trained import Trained
from moe_lite.t5.description import to_json

if TYPE_CHECKING:
  from moe_lite.inference.named_adapters import NamedAdapters, Which


class InUse:
  """Puts adapters over a base, one after another.

  Attributes:
    which: which adapters are in use, as `put` was given it.
    trained: the model with them.
    programs: what is compiled for models of its method.
  """

  trained: Trained
  programs: Programs

  def __init__(self, named: 'NamedAdapters', first: Trained, which: 'Which'):
    """Begins with a model.

    Args:
      named: the adapters to choose from.
      first: the model to begin with.
      which: which of the adapters it has.
    """
    self._named = named
    # Models of one method share what is compiled.
    self._programs: dict[str, Programs] = {}
    self._run_with(first, which)

  def put(self, which: 'Which') -> None:
    """Puts adapters over the base, in place of those that are there.

    Raises:
      UserError: see `NamedAdapters.find`.
    """
    self._run_with(self._named.find(which), which)

  @contextlib.contextmanager
  def for_a_while(self, which: 'Which') -> Iterator[None]:
    """Puts adapters over the base within the block."""
    before = self.trained, self.which
    self.put(which)
    try:
      yield
    finally:
      self._run_with(*before)

  def by_rows(
    self,
    names: Sequence[str | None],
    call: Callable[..., list[Any]],
    *rows: Sequence[Any],
  ) -> list[Any]:
    """Calls a method once for each adapters, with the rows that ask for them.

    Args:
      names: the name of the adapters of each row, or None for the base alone.
      call: the method, which returns a result for each row.
      *rows: its arguments, with an entry for each row.

    Returns:
      The results, in the order of the rows.

    Raises:
      UserError: for an unknown name, or unless there is a name for each row.
    """
    if isinstance(names, str) or isinstance(rows[0], str):
      raise UserError(
        'adapters names those of each of several inputs: give both as lists. '
        '`set_adapter` takes one name for all.'
      )
    if len(names) != len(rows[0]):
      raise UserError(
        f'adapters names {len(names)} for {len(rows[0])} inputs: give one for '
        'each.'
      )
    for name in names:
      self._named.find(name)  # All names are checked before anything runs.
    results = [None] * len(names)
    for name in dict.fromkeys(names):
      at = [i for i, other in enumerate(names) if other == name]
      with self.for_a_while(name):
        found = call(*([x[i] for i in at] for x in rows))
      for i, result in zip(at, found, strict=True):
        results[i] = result
    return results

  def _run_with(self, trained: Trained, which: 'Which') -> None:
    self.trained, self.which = trained, which
    network = to_json(trained.model.module.config)
    method = json_text.dumps(network, sort_keys=True)
    if method not in self._programs:
      self._programs[method] = Programs(dataclasses.replace(trained))
    self.programs = self._programs[method]
    self.programs.trained.params = trained.params
