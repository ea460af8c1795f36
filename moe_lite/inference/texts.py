"""Texts and answer choices, in the forms in which callers may give them."""

from collections.abc import Iterable, Sequence
from typing import Any

from moe_lite.core.errors import UserError


def several(texts: str | Sequence[str], name: str = 'inputs') -> list[str]:
  """Makes a list of one text or several.

  Args:
    texts: the text or texts.
    name: what an error calls them.

  Raises:
    UserError: if they are neither, or if there are none.
  """
  if not isinstance(texts, str | Iterable):
    raise UserError(f'{name} = {texts!r} must be a text or several.')
  found = [texts] if isinstance(texts, str) else list(texts)
  if not found:
    raise UserError(f'There are no {name}: give at least one text.')
  return found


def choices_of_each(inputs: Any, count: int, choices: Any) -> list[list[str]]:
  """Makes a list of the choices of each of `count` inputs.

  Args:
    inputs: what the caller gave as inputs. A single text cannot have a list of
      lists of choices.
    count: the number of inputs.
    choices: a list of texts, which are the choices of all inputs; or a list of
      such lists, one for each input.

  Raises:
    UserError: if the choices are neither, or if there are none.
  """
  if isinstance(choices, str) or not isinstance(choices, Iterable):
    raise UserError(f'choices = {choices!r} must be a list of texts.')
  choices = list(choices)
  if wrong := [x for x in choices if not isinstance(x, Iterable)]:
    raise UserError(f'choices has {wrong[0]!r}, which is not a text.')
  if all(isinstance(choice, str) for choice in choices):
    return [several(choices, 'choices')] * count
  if isinstance(inputs, str) or len(choices) != count:
    raise UserError(
      f'{len(choices)} lists of choices for {count} inputs: give one list of '
      'texts for all inputs, or a list for each.'
    )
  if any(isinstance(part, str) for part in choices):
    raise UserError('Some choices are texts, and some are lists of texts.')
  return [several(part, 'choices') for part in choices]
