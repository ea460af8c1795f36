"""Short names of runs, by what they trained."""

import collections
import re
from collections.abc import Sequence

from moe_lite.inference.facts import Facts

FROZEN = 'frozen base'
_CLASS = re.compile(r'(\w+)\((.*)\)')


def name(checkpoint: Facts) -> str:
  """'MoV-10', 'MoLoRA-10 rank 4', 'full fine-tuning' or 'frozen base'."""
  if not checkpoint.trainable_parameters:
    return FROZEN
  kinds = [_CLASS.fullmatch(text) for text in checkpoint.method.values()]
  if not kinds:
    return 'full fine-tuning'
  (kind, options), _ = collections.Counter(
    match.groups() for match in kinds if match
  ).most_common(1)[0]
  experts = re.search(r'\bnum_experts=(\d+)', options)
  rank = re.search(r'\brank=(\d+)', options)
  return (
    kind
    + (f'-{experts[1]}' if experts else '')
    + (f' rank {rank[1]}' if rank else '')
  )


def distinct(names: Sequence[str]) -> list[str]:
  """The names, with a number after each that stood there before."""
  seen: collections.Counter[str] = collections.Counter()
  found = []
  for one in names:
    seen[one] += 1
    found.append(f'{one} ({seen[one]})' if seen[one] > 1 else one)
  return found
