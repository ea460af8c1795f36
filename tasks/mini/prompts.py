"""The data sets of the mini suite and their prompt templates.

A data set draws rows from one relation of `mini_world`; every template turns
each row into a prompt, a target and the answer choices, as P3's templates do.
Subjects whose turn it is to be validated (one in six) occur in no training
row of their data set, so validation asks about what fine-tuning did not show.
"""

import dataclasses
import random
from collections.abc import Callable, Mapping

from tasks.mini import world
from tasks.mini.text import FACTS


@dataclasses.dataclass(frozen=True)
class Row:
  """One example before templating.

  Attributes:
    fields: what a template may name in braces.
    choices: the answers on offer.
    answer: position of the right one.
    asked: the subjects it takes knowledge of, each with its relation.
  """

  fields: Mapping[str, str]
  choices: tuple[str, ...]
  answer: int
  asked: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class Template:
  """A prompt: `{a}` and the like, `{options}` as `listing` writes them.

  Attributes:
    text: the prompt.
    separator: what stands between options.
    labels: names of the answers, where the template renames them.
  """

  text: str
  separator: str = ', '
  labels: tuple[str, ...] = ()

  def choices(self, row: Row) -> tuple[str, ...]:
    return self.labels or row.choices

  def prompt(self, row: Row) -> str:
    choices = self.choices(row)
    options = self.separator.join(choices)
    return self.text.format(options=options, o=choices, **row.fields)


@dataclasses.dataclass(frozen=True)
class DataSet:
  """A source of rows with its templates.

  Attributes:
    name: as in task names.
    cluster: the kind of task; held-out clusters are never trained on.
    held_out: whether it belongs to the evaluation.
    num_choices: answers per row.
    rows: draws one row: `(random, split) -> Row`.
    templates: by name.
  """

  name: str
  cluster: str
  held_out: bool
  num_choices: int
  rows: Callable[[random.Random, str], Row]
  templates: Mapping[str, Template]

  def draw(self, split: str, count: int, seed: int = 0) -> list[Row]:
    """Draws a split's rows; equal arguments give equal rows."""
    rng = random.Random(f'{self.name}/{split}/{seed}')
    return [self.rows(rng, split) for _ in range(count)]


def _pairs(relation: str, split: str) -> world.Pairs:
  """The pairs a split may ask about.

  Held-out relations are never trained on, so all of theirs may be asked.
  """
  pairs = world.RELATIONS[relation]
  if relation in world.HELD_OUT:
    return pairs
  validation = split == 'validation'
  return [p for i, p in enumerate(pairs) if (i % 6 == 3) == validation]


def _pick(relation: str, num_choices: int):
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


def _odd_one(rng: random.Random, split: str) -> Row:
  """Two subjects share their object, the third does not."""
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


_SENTENCES = (
  'kinds',
  'uses',
  'parts',
  'colours',
  'capitals',
  'young',
  'topics',
)


def _fact(rng: random.Random, split: str) -> Row:
  """A true or a false sentence; the first answer says it is true."""
  relation = rng.choice(_SENTENCES)
  a, b = rng.choice(_pairs(relation, split))
  answer = rng.randrange(2)
  if answer == 1:
    others = {y for _, y in world.RELATIONS[relation]} - {b}
    b = rng.choice(sorted(others))
  n = rng.choice(world.NAMES)
  text = rng.choice(FACTS[relation]).format(a=a, b=b, n=n)
  fields = {'s': text, 'S': text.capitalize()}
  return Row(fields, ('yes', 'no'), answer, ((relation, a),))


def _rewording(rng: random.Random, split: str) -> Row:
  """Two sentences that say the same of one subject, or do not."""
  relation = rng.choice(_SENTENCES)
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


def _opinion(rng: random.Random, split: str) -> Row:
  answer = rng.randrange(2)
  words = (world.PRAISE, world.BLAME)[answer]
  words = words[-4:] if split == 'validation' else words[:-4]
  p, q = rng.sample(words, 2)
  n, r = rng.choice(world.NAMES), rng.choice(world.REVIEWED)
  fields = {'p': p, 'q': q, 'n': n, 'r': r}
  asked = (('opinions', p), ('opinions', q))
  return Row(fields, ('positive', 'negative'), answer, asked)


def _meeting(rng: random.Random, split: str) -> Row:
  """Two people of different jobs, one of whom a thing points to."""
  row = _pick('jobs', 2)(rng, split)
  return dataclasses.replace(
    row, fields={**row.fields, 'x': row.choices[0], 'y': row.choices[1]}
  )


def _riddle(rng: random.Random, split: str) -> Row:
  """Two things of one job, which is to be guessed."""
  row = _pick('jobs', 3)(rng, split)
  job, a = row.choices[row.answer], row.fields['a']
  others = [x for x, y in _pairs('jobs', split) if y == job and x != a]
  c = rng.choice(others)
  return dataclasses.replace(
    row, fields={'a': a, 'c': c}, asked=(*row.asked, ('jobs', c))
  )


def _with_name(relation: str, num_choices: int):
  """The rows of `_pick`, and someone they happen to."""
  pick = _pick(relation, num_choices)

  def draw(rng: random.Random, split: str) -> Row:
    row = pick(rng, split)
    name = rng.choice(world.NAMES)
    return dataclasses.replace(row, fields={**row.fields, 'n': name})

  return draw


def _set(name, cluster, rows, num_choices, templates, held_out=False):
  templates = {
    key: value if isinstance(value, Template) else Template(value)
    for key, value in templates.items()
  }
  return DataSet(name, cluster, held_out, num_choices, rows, templates)


T = Template

TRAINING = (
  _set(
    'kinds',
    'taxonomy',
    _pick('kinds', 4),
    4,
    {
      'what_kind': 'What kind of thing is the {a}? Options: {options}.',
      'choose': T('Choose the class of {a}: {options}', ' or '),
      'belongs': 'Which of these does {a} count as? {options}',
      'open': 'Name the kind of thing that {a} is.',
    },
  ),
  _set(
    'odd',
    'taxonomy',
    _odd_one,
    3,
    {
      'odd': 'Which word is the odd one out? {options}',
      'not_belong': T('One does not belong: {options}. Which?', ' and '),
      'different': T('{options}. Find the different one.', '; '),
    },
  ),
  _set(
    'uses',
    'closed_book',
    _pick('uses', 3),
    3,
    {
      'what_for': 'What is the {a} for? Options: {options}.',
      'can_do': T('With a {a} you can: {options}?', ' or '),
      'purpose': T('{options}. Select the purpose of {a}.', '; '),
      'open': 'Question: what do people do with a {a}? Answer:',
    },
  ),
  _set(
    'parts',
    'closed_book',
    _pick('parts', 3),
    3,
    {
      'part_of': 'A {a} is a part of what? Options: {options}.',
      'where': T('Look for the {a} at: {options}?', ' or '),
      'whole': T('{options}. Select the one with a {a}.', '; '),
    },
  ),
  _set(
    'colours',
    'closed_book',
    _pick('colours', 3),
    3,
    {
      'colour': 'Question: what colour is {a}? {options}. Answer:',
      'looks': T('{a}: {options}?', ' or '),
      'open': 'Tell the colour of {a}.',
    },
  ),
  _set(
    'capitals',
    'closed_book',
    _pick('capitals', 3),
    3,
    {
      'capital': 'Which city is the capital of {a}? {options}',
      'trip': T('To see {a}, where should one go? {options}?', ' or '),
      'city': T('{options}. Select the city of {a}.', '; '),
    },
  ),
  _set(
    'opposites',
    'lexical',
    _pick('opposites', 3),
    3,
    {
      'opposite': 'What is the opposite of {a}? Options: {options}.',
      'reverse': T('Turn {a} into its reverse: {options}?', ' or '),
      'contrary': T('{options}. Which is the contrary of {a}?', '; '),
    },
  ),
  _set(
    'synonyms',
    'lexical',
    _pick('synonyms', 3),
    3,
    {
      'same': 'Which word means the same as {a}? {options}',
      'replace': T('Replace {a} by another word: {options}?', ' or '),
      'similar': T('{options}. Which is most similar to {a}?', '; '),
    },
  ),
  _set(
    'young',
    'lexical',
    _pick('young', 3),
    3,
    {
      'baby': 'What is the baby of the {a}? Options: {options}.',
      'child': T('Name the child of a {a}: {options}?', ' or '),
      'young': T('{options}. Which one is a young {a}?', '; '),
    },
  ),
  _set(
    'reviews',
    'sentiment',
    _opinion,
    2,
    {
      'sentiment': 'Review: a {p}, {q} {r}. Is it positive or negative?',
      'like': T(
        'The {r} was {p} and {q}. Did {n} like it? yes or no?',
        labels=('yes', 'no'),
      ),
      'good': T(
        '{n} says: {p}, {q}. The {r} was: good or bad?', labels=('good', 'bad')
      ),
      'thumbs': T(
        'Thumbs up or down for a {p} and {q} {r}?', labels=('up', 'down')
      ),
    },
  ),
  _set(
    'ratings',
    'sentiment',
    _opinion,
    2,
    {
      'stars': T(
        'How many stars for this {r}: {p} and {q}? five or one?',
        labels=('five', 'one'),
      ),
      'buy': T(
        'Buy or return the {r}? People call it {p} and {q}.',
        labels=('buy', 'return'),
      ),
      'praise': T(
        '{p}, {q}: is this praise or blame for the {r}?',
        labels=('praise', 'blame'),
      ),
    },
  ),
  _set(
    'news',
    'topic',
    _pick('topics', 4),
    4,
    {
      'topic': 'What is the topic of this text: the {a}? Options: {options}.',
      'page': T('On which page do we read of the {a}? {options}?', ' or '),
      'about': T('{options}. A story with a {a} is about which?', '; '),
      'open': 'Give a topic for the {a}.',
    },
  ),
  _set(
    'rewording',
    'paraphrase',
    _rewording,
    2,
    {
      'same': 'Do these sentences say the same? {s}. {t}. yes or no?',
      'duplicate': T(
        'First: {s}. Second: {t}. same or different?',
        labels=('same', 'different'),
      ),
      'mean': T(
        '{s}; {t}: is it correct that they agree?', labels=('correct', 'wrong')
      ),
    },
  ),
  _set(
    'facts',
    'fact_checking',
    _fact,
    2,
    {
      'true': T('{S}. true or false?', labels=('true', 'false')),
      'is_it_so': 'Is it so that {s}? yes or no?',
      'right': T(
        'Somebody says: {s}. Is this right or wrong?', labels=('right', 'wrong')
      ),
      'check': T(
        'Check this sentence. {S}. correct or not?', labels=('correct', 'wrong')
      ),
    },
  ),
)

HELD_OUT = (
  _set(
    'who',
    'coreference',
    _meeting,
    2,
    {
      'needed': 'The {x} met the {y}. One of them talked about the {a}. Who '
      'was it, the {x} or the {y}?',
      'owner': 'The {a} was left behind by the {x} or the {y}. Guess who had '
      'it: {x} / {y}',
      'refer': 'The {x} and the {y} came in, and somebody had the {a}. '
      'Somebody refers to',
      'pronoun': 'The {x} thanked the {y} for help with the {a}, because it '
      'was part of his job. His stands for {x}, {y}?',
      'blank': 'Fill the gap with {x} or {y}: the ... used the {a}.',
    },
    held_out=True,
  ),
  _set(
    'scenes',
    'inference',
    _with_name('places', 3),
    3,
    {
      'guaranteed': T(
        'Suppose {n} saw the {a}. We can infer that {n} was in the {options}?',
        ' or ',
      ),
      'follows': T(
        'Premise: {n} looked at the {a}. Hypothesis: {n} was in the {options}',
        ' / ',
      ),
      'justified': '{n} stood before the {a}. Are we justified in saying '
      '{options}?',
      'must_be': T('Given the {a}, it must be the: {options}', ' | '),
      'therefore': T(
        'There is the {a}; therefore this is the {options}. Conclusion:',
        ' // ',
      ),
    },
    held_out=True,
  ),
  _set(
    'feelings',
    'emotion',
    _with_name('moods', 3),
    3,
    {
      'feel': '{n} {a}. How would you say {n} feels: {options}?',
      'mood': T('Mood of someone who {a}: {options}', ' / '),
      'emotion': 'This morning {n} {a}. Pick an emotion from {options}.',
      'face': T('{n} {a}. The face of {n} now is {options}?', ' | '),
      'state': 'State of mind after {n} {a}: {options}',
    },
    held_out=True,
  ),
  _set(
    'riddles',
    'riddle',
    _riddle,
    3,
    {
      'guess': T(
        'Guess who it was: he had the {a} and the {c}. {options}?', ' or '
      ),
      'who': T('{a} and {c}. Who was it? {options}', ' / '),
      'his': 'The {a} was his, the {c} was his. Guess: {options}?',
      'stands': T('It stands for a job: {a}, {c}. Pick from {options}', ' // '),
      'call': T(
        '{options}. What do people call the one with the {a} and the {c}?',
        '; ',
      ),
    },
    held_out=True,
  ),
)

DATA_SETS: tuple[DataSet, ...] = TRAINING + HELD_OUT
