"""The inputs to predict for: those of a SeqIO task, or of a file."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf
from etils import epath
from seqio.utils import Feature

from moe_lite.core import json_text, text_files
from moe_lite.core.errors import UserError
from moe_lite.data import dataset
from moe_lite.inference.padding import Input


@dataclasses.dataclass(frozen=True)
class Example:
  """What is predicted for.

  Attributes:
    text: `inputs`, and `targets` where they are known, as they are written
      beside the prediction.
    inputs: the inputs as the network reads them.
    targets: the ids of the targets; None where they are not known.
  """

  text: Mapping[str, str]
  inputs: Input
  targets: np.ndarray | None = None


def of_file(path: str, feature: Feature, limit: int) -> list[Example]:
  """Reads inputs from a file.

  Args:
    path: a text file with an input on each line, or a .jsonl file with `inputs`
      in every object. Empty lines are left out.
    feature: the feature of a task whose vocabulary reads the inputs.
    limit: the greatest number of ids of an input; longer ones are trimmed.

  Raises:
    UserError: if there is no such file, or if a line cannot be read.
  """
  file = epath.Path(path)
  if not file.is_file():
    raise UserError(
      f'INFER_INPUT = {path!r} is not a file: give a text file with an input a '
      'line, or a .jsonl file with "inputs" in every object.'
    )
  texts = []
  if file.suffix == '.jsonl':
    for number, row in text_files.rows_of_jsonl(file):
      if not isinstance(row.get('inputs'), str):
        raise UserError(
          f'{path}, line {number}: there must be "inputs" in it, with a text; '
          f'it has {row.get("inputs")!r} there, and {", ".join(row)}.'
        )
      texts.append(row['inputs'])
  else:
    lines = text_files.read_text(file).split('\n')
    texts += [line.rstrip('\r') for line in lines if line.strip()]
  examples = []
  for text in texts:
    ids = list(feature.vocabulary.encode(text))
    if feature.add_eos:
      assert feature.vocabulary.eos_id is not None
      ids.append(feature.vocabulary.eos_id)
    examples.append(Example({'inputs': text}, Input(ids[:limit])))
  return examples


def of_task(
  provider: seqio.Task | seqio.Mixture,
  split: str,
  lengths: Mapping[str, int],
  use_cached: bool,
) -> list[Example]:
  """Reads the inputs and targets of a task.

  Args:
    provider: the task.
    split: which split of it.
    lengths: {'inputs': L, 'targets': T}; longer ones are trimmed.
    use_cached: whether to read what `seqio_cache_tasks` wrote.

  Raises:
    UserError: if it is a mixture.
  """
  if not isinstance(provider, seqio.Task):
    raise UserError(
      f'MIXTURE_OR_TASK_NAME = {provider.name!r} is a mixture. Predictions are '
      'made for one task, such as '
      f'--gin.MIXTURE_OR_TASK_NAME="{provider.tasks[0].name!r}".'
    )
  return [
    Example(
      {
        name: _text(row, name, provider.output_features[name])
        for name in ('inputs', 'targets')
      },
      Input.of(row),
      row['targets'],
    )
    for row in dataset.read(provider, split, lengths, use_cached)
  ]


def of_number(examples: Sequence[Example], number: int | None) -> list[Example]:
  """Gives examples the number of a task; None leaves them as they are."""
  if number is None:
    return list(examples)
  return [
    dataclasses.replace(x, inputs=dataclasses.replace(x.inputs, task=number))
    for x in examples
  ]


def shard(
  examples: Sequence[Example], num_shards: int, shard_id: int
) -> Sequence[Example]:
  """The part of a shard: all parts, one after another, are the whole."""
  starts = [i * len(examples) // num_shards for i in (shard_id, shard_id + 1)]
  return examples[slice(*starts)]


def fingerprint(examples: Sequence[Example]) -> str:
  """Tells the inputs of an edited file from those that it had before."""
  digest = hashlib.sha256()
  for example in examples:
    inputs = example.inputs
    digest.update(json_text.dumps([int(i) for i in inputs.ids]).encode())
    if inputs.embedding is not None:
      digest.update(inputs.embedding.tobytes())
  return digest.hexdigest()[:16]


def _text(row: Mapping[str, Any], name: str, feature: Feature) -> str:
  pretokenized = row.get(f'{name}_pretokenized')
  if pretokenized is not None:
    return tf.compat.as_text(pretokenized)
  return feature.vocabulary.decode([int(i) for i in row[name]])
