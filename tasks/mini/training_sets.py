"""The data sets of the mini suite that training reads, with their prompts."""

from tasks.mini import rows
from tasks.mini.prompts import DataSet, Template, data_set

TRAINING: tuple[DataSet, ...] = (
  data_set(
    name='kinds',
    cluster='taxonomy',
    rows=rows.pick('kinds', 4),
    num_choices=4,
    templates={
      'what_kind': 'What kind of thing is the {a}? Options: {options}.',
      'choose': Template('Choose the class of {a}: {options}', ' or '),
      'belongs': 'Which of these does {a} count as? {options}',
      'open': 'Name the kind of thing that {a} is.',
    },
  ),
  data_set(
    name='odd',
    cluster='taxonomy',
    rows=rows.draw_odd_one,
    num_choices=3,
    templates={
      'odd': 'Which word is the odd one out? {options}',
      'not_belong': Template('One does not belong: {options}. Which?', ' and '),
      'different': Template('{options}. Find the different one.', '; '),
    },
  ),
  data_set(
    name='uses',
    cluster='closed_book',
    rows=rows.pick('uses', 3),
    num_choices=3,
    templates={
      'what_for': 'What is the {a} for? Options: {options}.',
      'can_do': Template('With a {a} you can: {options}?', ' or '),
      'purpose': Template('{options}. Select the purpose of {a}.', '; '),
      'open': 'Question: what do people do with a {a}? Answer:',
    },
  ),
  data_set(
    name='parts',
    cluster='closed_book',
    rows=rows.pick('parts', 3),
    num_choices=3,
    templates={
      'part_of': 'A {a} is a part of what? Options: {options}.',
      'where': Template('Look for the {a} at: {options}?', ' or '),
      'whole': Template('{options}. Select the one with a {a}.', '; '),
    },
  ),
  data_set(
    name='colours',
    cluster='closed_book',
    rows=rows.pick('colours', 3),
    num_choices=3,
    templates={
      'colour': 'Question: what colour is {a}? {options}. Answer:',
      'looks': Template('{a}: {options}?', ' or '),
      'open': 'Tell the colour of {a}.',
    },
  ),
  data_set(
    name='capitals',
    cluster='closed_book',
    rows=rows.pick('capitals', 3),
    num_choices=3,
    templates={
      'capital': 'Which city is the capital of {a}? {options}',
      'trip': Template('To see {a}, where should one go? {options}?', ' or '),
      'city': Template('{options}. Select the city of {a}.', '; '),
    },
  ),
  data_set(
    name='opposites',
    cluster='lexical',
    rows=rows.pick('opposites', 3),
    num_choices=3,
    templates={
      'opposite': 'What is the opposite of {a}? Options: {options}.',
      'reverse': Template('Turn {a} into its reverse: {options}?', ' or '),
      'contrary': Template('{options}. Which is the contrary of {a}?', '; '),
    },
  ),
  data_set(
    name='synonyms',
    cluster='lexical',
    rows=rows.pick('synonyms', 3),
    num_choices=3,
    templates={
      'same': 'Which word means the same as {a}? {options}',
      'replace': Template('Replace {a} by another word: {options}?', ' or '),
      'similar': Template('{options}. Which is most similar to {a}?', '; '),
    },
  ),
  data_set(
    name='young',
    cluster='lexical',
    rows=rows.pick('young', 3),
    num_choices=3,
    templates={
      'baby': 'What is the baby of the {a}? Options: {options}.',
      'child': Template('Name the child of a {a}: {options}?', ' or '),
      'young': Template('{options}. Which one is a young {a}?', '; '),
    },
  ),
  data_set(
    name='reviews',
    cluster='sentiment',
    rows=rows.draw_opinion,
    num_choices=2,
    templates={
      'sentiment': 'Review: a {p}, {q} {r}. Is it positive or negative?',
      'like': Template(
        'The {r} was {p} and {q}. Did {n} like it? yes or no?',
        labels=('yes', 'no'),
      ),
      'good': Template(
        '{n} says: {p}, {q}. The {r} was: good or bad?', labels=('good', 'bad')
      ),
      'thumbs': Template(
        'Thumbs up or down for a {p} and {q} {r}?', labels=('up', 'down')
      ),
    },
  ),
  data_set(
    name='ratings',
    cluster='sentiment',
    rows=rows.draw_opinion,
    num_choices=2,
    templates={
      'stars': Template(
        'How many stars for this {r}: {p} and {q}? five or one?',
        labels=('five', 'one'),
      ),
      'buy': Template(
        'Buy or return the {r}? People call it {p} and {q}.',
        labels=('buy', 'return'),
      ),
      'praise': Template(
        '{p}, {q}: is this praise or blame for the {r}?',
        labels=('praise', 'blame'),
      ),
    },
  ),
  data_set(
    name='news',
    cluster='topic',
    rows=rows.pick('topics', 4),
    num_choices=4,
    templates={
      'topic': 'What is the topic of this text: the {a}? Options: {options}.',
      'page': Template(
        'On which page do we read of the {a}? {options}?', ' or '
      ),
      'about': Template('{options}. A story with a {a} is about which?', '; '),
      'open': 'Give a topic for the {a}.',
    },
  ),
  data_set(
    name='rewording',
    cluster='paraphrase',
    rows=rows.draw_rewording,
    num_choices=2,
    templates={
      'same': 'Do these sentences say the same? {s}. {t}. yes or no?',
      'duplicate': Template(
        'First: {s}. Second: {t}. same or different?',
        labels=('same', 'different'),
      ),
      'mean': Template(
        '{s}; {t}: is it correct that they agree?', labels=('correct', 'wrong')
      ),
    },
  ),
  data_set(
    name='facts',
    cluster='fact_checking',
    rows=rows.draw_fact,
    num_choices=2,
    templates={
      'true': Template('{S}. true or false?', labels=('true', 'false')),
      'is_it_so': 'Is it so that {s}? yes or no?',
      'right': Template(
        'Somebody says: {s}. Is this right or wrong?', labels=('right', 'wrong')
      ),
      'check': Template(
        'Check this sentence. {S}. correct or not?', labels=('correct', 'wrong')
      ),
    },
  ),
)
