"""How the data sets of the mini suite draw their rows from the world.

A function here draws one row, `(random, split) -> Row`, or makes a function
that does. In training data sets, one subject in six is kept for validation and
occurs in no training row of its data set. So validation asks about subjects
that fine-tuning did not show.
"""

import dataclasses
import functools
import random
from collections.abc import Callable

from tasks.mini import world
from tasks.mini.patterns import FACTS
from tasks.mini.prompts import Row

# The relations that sentences to be judged are about.
_JUDGED = (
  'kinds',
  'uses',
  'parts',
  'colours',
  'capitals',
  'young',
  'topics',
)


@functools.cache
def _pairs(relation: str, split: str) -> world.Pairs:
  """The pairs that a split may ask about.

  Training uses no held-out relation, so every split may ask about all pairs of
  one.
  """
  pairs = world.RELATIONS[relation]
  if relation in world.HELD_OUT:
    return pairs
  validation = split == 'validation'
  return [p for i, p in enumerate(pairs) if (i % 6 == 3) == validation]


def pick(
  relation: str, num_choices: int
) -> Callable[[random.Random, str], Row]:
  """Rows that ask for the object of a subject, among other objects.

  The object is drawn first, so that every answer is right equally often.
  """

  def draw(rng: random.Random, split: str) -> Row:
    by_object = {}
    for a, b in _pairs(relation, split):
      by_object.setdefault(b, []).append(a)
    b = rng.choice(list(by_object))
    a = rng.choice(by_object[b])
    others = [o for o in by_object if o != b]
    if len(others) < num_choices - 1:
      others = sorted({o for _, o in world.RELATIONS[relation]} - {b})
    choices = [b, *rng.sample(others, num_choices - 1)]
    rng.shuffle(choices)
    return Row({'a': a}, tuple(choices), choices.index(b), ((relation, a),))

  return draw


def pick_with_name(
  relation: str, num_choices: int
) -> Callable[[random.Random, str], Row]:
  """The rows of `pick`, each with the name of somebody it happens to."""
  draw_without = pick(relation, num_choices)

  def draw(rng: random.Random, split: str) -> Row:
    row = draw_without(rng, split)
    name = rng.choice(world.NAMES)
    return dataclasses.replace(row, fields={**row.fields, 'n': name})

  return draw


def draw_odd_one(rng: random.Random, split: str) -> Row:
  """Three subjects: two share their object, and the third does not."""
  by_object, relation_of = {}, {}
  for relation in ('kinds', 'topics'):
    for a, b in _pairs(relation, split):
      by_object.setdefault(b, []).append(a)
      relation_of[a] = relation
  whole = [b for b, subjects in by_object.items() if len(subjects) > 1]
  b = rng.choice(whole)
  odd = rng.choice(by_object[rng.choice([o for o in by_object if o != b])])
  choices = [odd, *rng.sample(by_object[b], 2)]
  rng.shuffle(choices)
  asked = tuple((relation_of[a], a) for a in choices)
  return Row({}, tuple(choices), choices.index(odd), asked)


def draw_fact(rng: random.Random, split: str) -> Row:
  """A true or a false sentence; the first answer says that it is true."""
  relation = rng.choice(_JUDGED)
  a, b = rng.choice(_pairs(relation, split))
  answer = rng.randrange(2)
  if answer == 1:
    others = {y for _, y in world.RELATIONS[relation]} - {b}
    b = rng.choice(sorted(others))
  n = rng.choice(world.NAMES)
  text = rng.choice(FACTS[relation]).format(a=a, b=b, n=n)
  fields = {'s': text, 'S': text.capitalize()}
  return Row(fields, ('yes', 'no'), answer, ((relation, a),))


def draw_rewording(rng: random.Random, split: str) -> Row:
  """Two sentences that say the same of one subject, or do not."""
  relation = rng.choice(_JUDGED)
  pairs = _pairs(relation, split)
  a, b = rng.choice(pairs)
  first, second = rng.sample(FACTS[relation], 2)
  answer = rng.randrange(2)
  n = rng.choice(world.NAMES)
  c, d = (a, b) if answer == 0 else rng.choice([p for p in pairs if p[1] != b])
  fields = {
    's': first.format(a=a, b=b, n=n),
    't': second.format(a=c, b=d, n=n),
  }
  asked = ((relation, a), (relation, c))
  return Row(fields, ('yes', 'no'), answer, asked)


def draw_opinion(rng: random.Random, split: str) -> Row:
  """Two words of praise or of blame for one thing."""
  answer = rng.randrange(2)
  words = (world.PRAISE, world.BLAME)[answer]
  words = words[-4:] if split == 'validation' else words[:-4]
  p, q = rng.sample(words, 2)
  n, r = rng.choice(world.NAMES), rng.choice(world.REVIEWED)
  fields = {'p': p, 'q': q, 'n': n, 'r': r}
  asked = (('opinions', p), ('opinions', q))
  return Row(fields, ('positive', 'negative'), answer, asked)


def draw_meeting(rng: random.Random, split: str) -> Row:
  """Two people of different jobs, and a thing that points to one of them."""
  row = pick('jobs', 2)(rng, split)
  return dataclasses.replace(
    row, fields={**row.fields, 'x': row.choices[0], 'y': row.choices[1]}
  )


def draw_riddle(rng: random.Random, split: str) -> Row:
  """Two things that belong to one job, which is to be guessed."""
  row = pick('jobs', 3)(rng, split)
  job, a = row.choices[row.answer], row.fields['a']
  others = [x for x, y in _pairs('jobs', split) if y == job and x != a]
  c = rng.choice(others)
  return dataclasses.replace(
    row, fields={'a': a, 'c': c}, asked=(*row.asked, ('jobs', c))
  )
