"""Tasks of a folder of examples that were put under prompts before.

A folder has files `NAME.SPLIT.jsonl`, such as `copa.train.jsonl`. A line is an
object with

* `dataset`: the name of the data set
* `prompt`: the name of the prompt
* `row`: the number of the row that the example was made from; it is the same
  under every prompt of a data set and split
* `inputs`: the text under the prompt
* `choices`: the answers to choose from; [] for free text
* `target`: the right answer

A gin file calls `mixture`; see `gin/data/rows.gin`. The tasks are
`rows_<data set>_<prompt>`, with their `_score_eval` twins.
"""

import functools
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import seqio
from etils import epath

from moe_lite.core.errors import UserError, nearest
from moe_lite.data import catalog
from tasks import p3, prompted

_FILE = re.compile(r'.+\.(?P<split>\w+)\.jsonl')
_FIELDS = {
  'dataset': str,
  'prompt': str,
  'row': int,
  'inputs': str,
  'choices': list,
  'target': str,
}
# Data set, prompt and split to rows.
Found = dict[str, dict[str, dict[str, list[Mapping[str, Any]]]]]


def mixture(folder: str, data_sets: Sequence[str] | None = None) -> str:
  """Registers the tasks of a folder, and a mixture of those with choices.

  The vocabulary is the one that `tasks.p3` reads its tasks with; see
  `gin/vocabularies/t5.gin`.

  Args:
    folder: the folder.
    data_sets: the names of the data sets of the mixture. None takes all that
      have answer choices.

  Returns:
    The name of the mixture. Its tasks have a row for each choice.

  Raises:
    UserError: if the folder has no such files, a line is not as it must be, or
      a data set is not there or has no answer choices.
  """
  ranked = _register(folder)
  chosen = sorted(ranked) if data_sets is None else list(data_sets)
  for name in chosen:
    if name not in ranked:
      raise UserError(
        f'ROWS_SETS: {folder} has no data set {name!r} with answer choices.'
        f'{nearest(name, ranked)} It has {", ".join(sorted(ranked))}.'
      )
  middle = '' if data_sets is None else f'_{"_".join(map(_word, chosen))}'
  name = f'rows{middle}{catalog.SCORE_EVAL}'
  if name not in seqio.MixtureRegistry.names():
    twins = [x + catalog.SCORE_EVAL for x in chosen for x in ranked[x]]
    seqio.MixtureRegistry.add(name, twins, default_rate=1.0)
  return name


@functools.cache
def _register(folder: str) -> dict[str, list[str]]:
  """Registers the tasks of a folder once.

  Returns:
    From the name of each data set with answer choices to the names of its
    tasks, without those of their twins.
  """
  found = _read(folder)
  if _register.cache_info().currsize:
    raise UserError(
      f'ROWS_DIR = {folder!r}: the tasks of another folder are registered '
      'already, and a process has those of one folder.'
    )
  ranked: dict[str, list[str]] = {}
  for data_set, prompts in found.items():
    for prompt, splits in prompts.items():
      rows = [row for of_split in splits.values() for row in of_split]
      is_ranked = any(row['choices'] for row in rows)
      name = f'rows_{_word(data_set)}_{_word(prompt)}'
      while catalog.lookup(name):  # Prompts may differ in signs alone.
        name += '_'
      prompted.add(
        catalog.TaskInfo(
          name=name,
          dataset=data_set,
          cluster=data_set,
          template=prompt,
          chance=None,  # Counted from the choices.
          held_out=False,
        ),
        functools.partial(_examples, splits),
        splits=tuple(splits),
        features=p3.FEATURES,
        ranked=is_ranked,
      )
      if is_ranked:
        ranked.setdefault(data_set, []).append(name)
  return ranked


def _examples(
  splits: Mapping[str, Sequence[Mapping[str, Any]]], split: str
) -> list[prompted.Example]:
  """The examples of a split under one prompt."""
  return [
    prompted.Example(row['inputs'], row['target'], row['choices'], row['row'])
    for row in splits[split]
  ]


def _read(folder: str) -> Found:
  """Reads all rows of a folder."""
  found: Found = {}
  for path in sorted(epath.Path(folder).glob('*.jsonl')):
    if not (match := _FILE.fullmatch(path.name)):
      continue
    for i, row in enumerate(prompted.read(path), 1):
      for name, kind in _FIELDS.items():
        if not isinstance(row.get(name), kind):
          raise UserError(
            f'{path}, row {i}: {name!r} is {row.get(name)!r}, and must be of '
            f'the type {kind.__name__}. A row has {", ".join(_FIELDS)}.'
          )
      prompts = found.setdefault(row['dataset'], {})
      splits = prompts.setdefault(row['prompt'], defaultdict(list))
      splits[match['split']].append(row)
  if not found:
    raise UserError(
      f'ROWS_DIR = {folder!r} has no rows in files such as copa.train.jsonl.'
    )
  return found


def _word(text: str) -> str:
  """A text as a part of a task's name, which SeqIO allows few characters."""
  return re.sub(r'\W+', '_', text, flags=re.ASCII).strip('_').lower()
