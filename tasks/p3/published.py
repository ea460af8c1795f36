"""Published results on T0's held-out data sets, to print beside a user's own.

They are zero-shot averages over the eight data sets. None of them was read in
the paper itself. The marks say how each is known.
"""

from moe_lite.data import catalog

MIXTURE = 't0_eval_score_eval'
TABLE = catalog.PublishedTable(
  source='arXiv 2309.05444, T5 3B',
  averages=(
    catalog.Published('full fine-tuning (T0-3B)', 60.06, 'N'),
    catalog.Published('(IA)3', 52.90, 'D'),
    catalog.Published('LoRA rank 4', 57.51, 'D'),
    catalog.Published('LoRA rank 8', 58.89, 'D'),
    catalog.Published('MoV-10', 59.93, 'N'),
    catalog.Published('MoV-30', 60.61, 'N'),
    catalog.Published('MoLoRA-15 rank 4', 60.79, 'D'),
    catalog.Published('MoV-10, top 2', 57.45, 'N'),
    catalog.Published('MoV-10, top 1', 54.92, 'N'),
  ),
  marks={
    'N': "from a reader's notes on the paper",
    'D': 'computed from such figures',
  },
)
