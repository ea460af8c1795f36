"""The data sets of the mini suite that only evaluation reads.

Their knowledge is in the base, their prompts are worded differently from those
of the training data sets, and no training prompt touches their relations.
"""

from tasks.mini import rows
from tasks.mini.prompts import DataSet, Template, data_set

HELD_OUT: tuple[DataSet, ...] = (
  data_set(
    name='who',
    cluster='coreference',
    rows=rows.draw_meeting,
    num_choices=2,
    templates={
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
  data_set(
    name='scenes',
    cluster='inference',
    rows=rows.pick_with_name('places', 3),
    num_choices=3,
    templates={
      'guaranteed': Template(
        'Suppose {n} saw the {a}. We can infer that {n} was in the {options}?',
        ' or ',
      ),
      'follows': Template(
        'Premise: {n} looked at the {a}. Hypothesis: {n} was in the {options}',
        ' / ',
      ),
      'justified': '{n} stood before the {a}. Are we justified in saying '
      '{options}?',
      'must_be': Template('Given the {a}, it must be the: {options}', ' | '),
      'therefore': Template(
        'There is the {a}; therefore this is the {options}. Conclusion:',
        ' // ',
      ),
    },
    held_out=True,
  ),
  data_set(
    name='feelings',
    cluster='emotion',
    rows=rows.pick_with_name('moods', 3),
    num_choices=3,
    templates={
      'feel': '{n} {a}. How would you say {n} feels: {options}?',
      'mood': Template('Mood of someone who {a}: {options}', ' / '),
      'emotion': 'This morning {n} {a}. Pick an emotion from {options}.',
      'face': Template('{n} {a}. The face of {n} now is {options}?', ' | '),
      'state': 'State of mind after {n} {a}: {options}',
    },
    held_out=True,
  ),
  data_set(
    name='riddles',
    cluster='riddle',
    rows=rows.draw_riddle,
    num_choices=3,
    templates={
      'guess': Template(
        'Guess who it was: he had the {a} and the {c}. {options}?', ' or '
      ),
      'who': Template('{a} and {c}. Who was it? {options}', ' / '),
      'his': 'The {a} was his, the {c} was his. Guess: {options}?',
      'stands': Template(
        'It stands for a job: {a}, {c}. Pick from {options}', ' // '
      ),
      'call': Template(
        '{options}. What do people call the one with the {a} and the {c}?',
        '; ',
      ),
    },
    held_out=True,
  ),
)
