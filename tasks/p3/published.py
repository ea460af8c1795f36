"""Published results on T0's held-out data sets, to print beside a user's own.

They are zero-shot averages over eight columns, one of which holds ANLI's three
rounds. T0 also holds out StoryCloze, which none of them counts. The same
weights score about two points more as a median over prompts than as a mean, so
each row says its convention.

The paper's numbers were not read in the paper itself, and it calls its full
fine-tuning T0-3B. The T0-3B that was released is another model, with another
average. The numbers of model cards are computed here from their scores.
"""

import functools

from moe_lite.data import catalog

MIXTURE = 't0_eval_score_eval'

_PAPER = 'arXiv 2309.05444, T5 3B'
_COLUMNS = (
  'anli',
  'hellaswag',
  'super_glue_cb',
  'super_glue_copa',
  'super_glue_rte',
  'super_glue_wic',
  'super_glue_wsc.fixed',
  'winogrande_winogrande_xl',
)
# What all rows have in common.
_row = functools.partial(
  catalog.Published, columns=_COLUMNS, dropped=('story_cloze',)
)


def _paper(
  name: str, average: float, mark: str, steps: int = 500_000, batch: int = 32
) -> catalog.Published:
  """A median over prompts; steps and batch are those of the paper's scripts."""
  return _row(
    name=name,
    average=average,
    mark=mark,
    convention=catalog.MEDIAN,
    steps=steps,
    batch=batch,
    source=_PAPER,
  )


def _card(
  name: str,
  average: float,
  mark: str,
  size: str,
  scores: tuple[float, ...],
  steps: int | None = None,
  batch: int | None = None,
) -> catalog.Published:
  """A mean over prompts, from the card of a T0 that was trained again."""
  return _row(
    name=name,
    average=average,
    mark=mark,
    convention=catalog.MEAN,
    steps=steps,
    batch=batch,
    source=f'model card hamishivi/hypertask_T0_{size}',
    scores=scores,
  )


TABLE = catalog.PublishedTable(
  source=_PAPER,
  averages=(
    _paper(
      "the paper's own full fine-tuning (T0-3B there)",
      60.06,
      'N',
      steps=10_000,
      batch=256,
    ),
    _paper('(IA)3', 52.90, 'D'),
    _paper('LoRA rank 4', 57.51, 'D'),
    _paper('LoRA rank 8', 58.89, 'D'),
    _paper('MoV-10', 59.93, 'N'),
    _paper('MoV-30', 60.61, 'N'),
    _paper('MoLoRA-15 rank 4', 60.79, 'D'),
    _paper('MoV-10, top 2', 57.45, 'N'),
    _paper('MoV-10, top 1', 54.92, 'N'),
    _card(
      'T0-3B as released',
      51.66,
      'S',
      size='3B',
      scores=(33.4, 27.2, 45.4, 75.9, 64.6, 50.7, 65.1, 51.0),
    ),
    _card(
      'T5-XL-LM, full fine-tuning',
      60.36,
      'C',
      size='3B',
      scores=(41.7, 30.1, 72.7, 89.1, 81.2, 51.7, 57.2, 59.2),
      steps=20_000,
      batch=2048,
    ),
    _card(
      'T0-11B as released',
      61.79,
      'S',
      size='11B',
      scores=(41.0, 33.6, 70.1, 91.5, 81.0, 56.1, 61.1, 59.9),
    ),
    _card(
      'T5-XXL-LM, full fine-tuning',
      65.28,
      'C',
      size='11B',
      scores=(46.8, 34.1, 81.2, 96.6, 84.0, 52.1, 62.6, 64.8),
      steps=20_000,
      batch=2048,
    ),
  ),
  marks={
    'N': "from a reader's notes on the paper, with the steps of its scripts",
    'D': 'computed from such figures',
    'S': 'secondary, computed from what others measured of the released model',
    'C': 'computed from the scores that its trainers report',
  },
)
