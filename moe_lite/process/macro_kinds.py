"""What a macro may be: each kind knows which values it allows, and says so."""

import abc
import ast
import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from gin.config import ConfigurableReference


class Kind(abc.ABC):
  """The values that a macro may have.

  A value is what gin's parser gives: Python's literals, with references to
  functions among them.
  """

  @property
  @abc.abstractmethod
  def allowed(self) -> str:
    """Completes the sentence 'It must be ...'."""

  @property
  @abc.abstractmethod
  def wrong(self) -> Sequence[str]:
    """Some values that are not allowed, as they are written in gin."""

  @abc.abstractmethod
  def allows(self, value: Any) -> bool:
    """Whether the macro may have this value."""


@dataclasses.dataclass(frozen=True)
class Optional(Kind):
  """None, or what another kind allows."""

  kind: Kind

  @property
  def allowed(self) -> str:
    return f'{self.kind.allowed}, or None'

  @property
  def wrong(self) -> Sequence[str]:
    return [x for x in self.kind.wrong if x != 'None']

  def allows(self, value: Any) -> bool:
    return value is None or self.kind.allows(value)


@dataclasses.dataclass(frozen=True)
class Whole(Kind):
  """A whole number of at least `least`."""

  least: int = 0

  @property
  def allowed(self) -> str:
    return f'a whole number of at least {self.least}'

  @property
  def wrong(self) -> Sequence[str]:
    return ["'a'", '1.5', 'True', 'None', '[1]', str(self.least - 1)]

  def allows(self, value: Any) -> bool:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return is_whole and value >= self.least


@dataclasses.dataclass(frozen=True)
class Number(Kind):
  """A finite number in a range.

  Attributes:
    above: a bound that it must exceed.
    least: a bound that it may reach.
    below: a bound that it must stay under.
    most: a bound that it may reach.
  """

  above: float | None = None
  least: float | None = None
  below: float | None = None
  most: float | None = None

  @property
  def allowed(self) -> str:
    bounds = [
      f'{word} {bound:g}'
      for word, bound in (
        ('above', self.above),
        ('of at least', self.least),
        ('below', self.below),
        ('of at most', self.most),
      )
      if bound is not None
    ]
    return f'a number {" and ".join(bounds)}'.rstrip()

  @property
  def wrong(self) -> Sequence[str]:
    found = ["'a'", 'True', 'None', '[1.0]', '1e999']
    low = self.above if self.above is not None else self.least
    if low is not None:
      found.append(str(low - 1))
    if (
      high := self.below if self.below is not None else self.most
    ) is not None:
      found.append(str(high + 1))
    return found

  def allows(self, value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
      return False
    return (
      math.isfinite(value)
      and (self.above is None or value > self.above)
      and (self.least is None or value >= self.least)
      and (self.below is None or value < self.below)
      and (self.most is None or value <= self.most)
    )


@dataclasses.dataclass(frozen=True)
class YesNo(Kind):
  """True or False."""

  @property
  def allowed(self) -> str:
    return 'True or False'

  @property
  def wrong(self) -> Sequence[str]:
    return ["'yes'", '1', '0', 'None', "'True'"]

  def allows(self, value: Any) -> bool:
    return isinstance(value, bool)


@dataclasses.dataclass(frozen=True)
class OneOf(Kind):
  """One of some texts."""

  values: tuple[str, ...]

  @property
  def allowed(self) -> str:
    return f'one of {", ".join(map(repr, self.values))}'

  @property
  def wrong(self) -> Sequence[str]:
    return ["'none such'", '5', 'True', "['a']", "''", 'None']

  def allows(self, value: Any) -> bool:
    return isinstance(value, str) and value in self.values


@dataclasses.dataclass(frozen=True)
class Text(Kind):
  """A text that is not empty, such as a path or a name."""

  what: str

  @property
  def allowed(self) -> str:
    return f'{self.what}, as a text in quotes'

  @property
  def wrong(self) -> Sequence[str]:
    return ["''", "' '", '5', 'True', 'None', "['a']", "'a\\0b'"]

  def allows(self, value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and '\0' not in value


@dataclasses.dataclass(frozen=True)
class Pattern(Kind):
  """A regular expression."""

  @property
  def allowed(self) -> str:
    return "a regular expression in quotes, such as '.*_adapter/.*'"

  @property
  def wrong(self) -> Sequence[str]:
    return ['5', 'None', 'True', "'(x'", "['.*']"]

  def allows(self, value: Any) -> bool:
    if not isinstance(value, str):
      return False
    try:
      re.compile(value)
    except re.error:
      return False
    return True


@dataclasses.dataclass(frozen=True)
class Function(Kind):
  """A function, or a class, that gin hands on, such as @decoding.greedy.

  A function of the user's own is allowed, too.

  Attributes:
    names: those of this package.
    is_called: whether gin calls it, so that parentheses must follow.
  """

  names: tuple[str, ...]
  is_called: bool = False

  @property
  def allowed(self) -> str:
    names = ', '.join(f'@{name}{self._parentheses}' for name in self.names)
    return f'one of {names}' if len(self.names) > 1 else names

  @property
  def wrong(self) -> Sequence[str]:
    name = self.names[0]
    called = f'@{name}' if self.is_called else f'@{name}()'
    return [f"'{name}'", '5', 'None', 'True', called]

  def allows(self, value: Any) -> bool:
    is_function = isinstance(value, ConfigurableReference)
    return is_function and value.evaluate == self.is_called

  @property
  def _parentheses(self) -> str:
    return '()' if self.is_called else ''


@dataclasses.dataclass(frozen=True)
class Table(Kind):
  """A dict from texts to values of a kind.

  Attributes:
    example: one, as it is written in gin.
    kind: what its values are; None allows any.
    needed: names that it must have.
    others: names that it may have besides; None allows any.
  """

  example: str
  kind: Kind | None = None
  needed: tuple[str, ...] = ()
  others: tuple[str, ...] | None = None

  @property
  def allowed(self) -> str:
    return f'a dict such as {self.example}'

  @property
  def wrong(self) -> Sequence[str]:
    found = ["'a'", '5', 'None', '[1]', '{5: 1}']
    if self.kind is not None:
      found += [f"{{'{(self.needed or ('a',))[0]}': 'x'}}"]
    if self.needed:
      found += ['{}']
    return found

  def allows(self, value: Any) -> bool:
    if not isinstance(value, Mapping):
      return False
    names = set(value)
    if not all(isinstance(name, str) for name in names):
      return False
    if not names >= set(self.needed):
      return False
    if self.others is not None and names - {*self.needed, *self.others}:
      return False
    kind = self.kind
    return kind is None or all(kind.allows(x) for x in value.values())


@dataclasses.dataclass(frozen=True)
class Several(Kind):
  """A list with at least one value of a kind."""

  kind: Kind
  example: str

  @property
  def allowed(self) -> str:
    return f'a list such as {self.example}'

  @property
  def wrong(self) -> Sequence[str]:
    inner = self.kind.wrong[0]
    return ['5', 'None', 'True', '[]', f'[{inner}]', "{'a': 1}"]

  def allows(self, value: Any) -> bool:
    return (
      isinstance(value, list | tuple)
      and bool(value)
      and all(self.kind.allows(x) for x in value)
    )


@dataclasses.dataclass(frozen=True)
class Either(Kind):
  """What one kind or another allows."""

  kinds: tuple[Kind, ...]

  @property
  def allowed(self) -> str:
    return ', or '.join(kind.allowed for kind in self.kinds)

  @property
  def wrong(self) -> Sequence[str]:
    found = dict.fromkeys(x for kind in self.kinds for x in kind.wrong)
    literals = [x for x in found if '@' not in x]
    return [x for x in literals if not self.allows(ast.literal_eval(x))]

  def allows(self, value: Any) -> bool:
    return any(kind.allows(value) for kind in self.kinds)


@dataclasses.dataclass(frozen=True)
class Pair(Kind):
  """Two whole numbers of at least 1."""

  @property
  def allowed(self) -> str:
    return 'two positive whole numbers, such as (4, 2)'

  @property
  def wrong(self) -> Sequence[str]:
    return ['5', "'a'", 'True', '(2,)', '(0, 1)', "('a', 1)", '(1, 1, 1)']

  def allows(self, value: Any) -> bool:
    return (
      isinstance(value, list | tuple)
      and len(value) == 2
      and all(Whole(1).allows(x) for x in value)
    )


@dataclasses.dataclass(frozen=True)
class Macro:
  """A macro.

  Attributes:
    name: its name.
    of: the gin files that use it.
    kind: what it may be.
    meaning: what it means, in Markdown.
  """

  name: str
  of: str
  kind: Kind
  meaning: str
