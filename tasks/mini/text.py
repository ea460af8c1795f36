"""The raw text about the world, which the base of the mini suite has read.

Short passages state facts, set matching things side by side, judge claims right
or wrong, group and contrast things, and tell what people liked. No passage
looks like a prompt of the mini suite. The words that prompts are made of occur
in ordinary sentences (`patterns.ASIDES`).
"""

import random
import re
from collections.abc import Iterator

from tasks.mini import patterns, world

_SPACE_BEFORE_POINT = re.compile(r' ([.,:;?!])')


class Writer:
  """Writes passages from one stream of random numbers."""

  def __init__(self, seed: int):
    """Args: `seed`, of the stream; equal seeds write equal passages."""
    self._rng = random.Random(seed)
    self._by_object = {}
    for name, pairs in world.RELATIONS.items():
      grouped = self._by_object[name] = {}
      for a, b in pairs:
        grouped.setdefault(b, []).append(a)
    # Larger relations are told more often, though not in full proportion.
    self._names = list(world.RELATIONS)
    self._weights = [len(world.RELATIONS[n]) ** 0.8 for n in self._names]

  def passages(self, count: int) -> Iterator[str]:
    """Writes the next `count` passages."""
    for _ in range(count):
      text = ' '.join(self._passage())
      yield _SPACE_BEFORE_POINT.sub(r'\1', text)

  def _passage(self) -> list[str]:
    kind = self._rng.random()
    if kind < 0.1:
      return [self._opinion() for _ in range(self._rng.choice((1, 2)))]
    if kind < 0.13:
      return [
        aside.format(n=self._name(), m=self._name())
        for aside in self._rng.sample(patterns.ASIDES, 2)
      ]
    (relation,) = self._rng.choices(self._names, self._weights)
    pairs = self._different_pairs(relation)
    pieces = [self._piece(relation, pairs)]
    while len(' '.join(pieces).split()) < 24:
      if self._rng.random() < 0.5:  # Else more about the same subject.
        pairs = self._different_pairs(relation)
      pieces.append(self._piece(relation, pairs))
    return pieces

  def _different_pairs(self, relation: str) -> world.Pairs:
    """Draws four pairs of a relation whose objects all differ."""
    grouped = self._by_object[relation]
    objects = self._rng.sample(list(grouped), 4)
    pairs = [(self._rng.choice(grouped[b]), b) for b in objects]
    if relation in ('opposites', 'synonyms'):
      pairs = [self._rng.choice(((a, b), (b, a))) for a, b in pairs]
    return pairs

  def _piece(self, relation: str, pairs: world.Pairs) -> str:
    rng = self._rng
    kind = rng.random()
    if kind < 0.35:
      frame = rng.choice(patterns.FRAMES)
      return frame.format(f=self._fact(relation, *pairs[0]), n=self._name())
    if kind < 0.7:
      return self._scene(relation, pairs)
    if kind < 0.85:
      return self._claim(relation, pairs)
    # A pair of opposites or synonyms may have been turned around.
    subjects = self._by_object[relation].get(pairs[0][1], [])
    if len(subjects) < 3:
      return self._scene(relation, pairs)
    a1, a2, a3 = rng.sample(subjects, 3)
    return rng.choice(patterns.GROUPS).format(
      a1=a1, a2=a2, a3=a3, b1=pairs[0][1], x=pairs[1][0], n=self._name()
    )

  def _scene(self, relation: str, pairs: world.Pairs) -> str:
    slots = {'n': self._name()}
    for i, (a, b) in enumerate(pairs, 1):
      slots[f'a{i}'], slots[f'b{i}'] = a, b
    slots['f1'] = self._fact(relation, *pairs[0])
    slots['f2'] = self._fact(relation, *pairs[1])
    return self._rng.choice(patterns.SCENES).format(**slots)

  def _claim(self, relation: str, pairs: world.Pairs) -> str:
    (a, b), (_, other) = pairs[:2]
    claims = self._rng.choice((patterns.AGREEMENT, patterns.DISAGREEMENT))
    return self._rng.choice(claims).format(
      t=self._fact(relation, a, b),
      u=self._fact(relation, a, b),
      w=self._fact(relation, a, other),
      n=self._name(),
      m=self._name(),
    )

  def _opinion(self) -> str:
    rng = self._rng
    words, templates = rng.choice(
      ((world.PRAISE, patterns.LIKED), (world.BLAME, patterns.DISLIKED))
    )
    p, q = rng.sample(words, 2)
    return rng.choice(templates).format(
      p=p, q=q, r=rng.choice(world.REVIEWED), n=self._name()
    )

  def _fact(self, relation: str, a: str, b: str) -> str:
    facts = patterns.FACTS[relation]
    return self._rng.choice(facts).format(a=a, b=b, n=self._name())

  def _name(self) -> str:
    return self._rng.choice(world.NAMES)
