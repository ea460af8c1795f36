"""What an int8 base costs in accuracy: logits, scores and chosen answers.

python -m tests.benchmarks.int8 --gin_file=... (as of `python -m moe_lite.eval`)

Scores the tasks of the configured evaluation with the base held in float32,
bfloat16 and int8, and prints a line of JSON for each type beside float32. The
last one, `COMPUTED`, holds it in int8 and multiplies int8 numbers.
"""

import copy
import dataclasses
import json
import sys
from collections.abc import Mapping
from typing import Any

import gin
import numpy as np
import seqio

from moe_lite.data import dataset
from moe_lite.inference import answers, ranking
from moe_lite.inference.padding import Shapes, pad_inputs, pad_targets
from moe_lite.inference.source import ModelSource
from moe_lite.inference.trained import Trained
from moe_lite.process import cli

# The base in int8, with BASE_COMPUTE = 'int8'.
COMPUTED = 'int8 x int8'
TYPES = ('float32', 'bfloat16', 'int8', COMPUTED)


def main(argv: list[str]) -> None:
  cli.configure(argv, 'evaluation.evaluate', 'runs/eval.gin')
  arguments = gin.get_bindings('evaluation.evaluate')
  provider = seqio.get_mixture_or_task(arguments['mixture_or_task_name'])
  rows = [
    answers.collect(
      task.name,
      dataset.read(task, arguments['split'], arguments['task_feature_lengths']),
    )
    for task in getattr(provider, 'tasks', [provider])
  ]
  found = {dtype: measure(arguments, dtype, rows) for dtype in TYPES}
  logits, scores, chosen, accuracy = found['float32']
  for dtype in TYPES[1:]:
    its_logits, its_scores, its_chosen, its_accuracy = found[dtype]
    agreement = {
      f'agrees_with_{other}': percent(its_chosen == found[other][2])
      for other in ('float32', 'bfloat16')
    }
    error = np.linalg.norm(its_logits - logits) / np.linalg.norm(logits)
    line = {
      'base_dtype': dtype,
      'examples': len(chosen),
      'logits_relative_error': float(error),
      'mean_score_difference': float(np.abs(its_scores - scores).mean()),
      **agreement,
      'accuracy': its_accuracy,
      'accuracy_float32': accuracy,
    }
    print(json.dumps(line))


def measure(
  arguments: Mapping[str, Any], dtype: str, rows: list[answers.Rows]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
  """Logits of some rows, all scores, all choices, and mean accuracy."""
  model = arguments['model']
  if dtype == COMPUTED:
    config = dataclasses.replace(model.module.config, base_compute='int8')
    model = copy.copy(model)
    model.module = model.module.clone(config=config)
  trained = ModelSource(
    model,
    arguments['checkpoint_path'],
    arguments['initial_checkpoint_path'],
    arguments['trainable'],
    'int8' if dtype == COMPUTED else dtype,
  ).load()
  lengths = arguments['task_feature_lengths']
  shapes = Shapes(
    arguments['batch_size'], lengths['inputs'], lengths['targets']
  )
  rankers = (
    trained.compile(trained.model.encode, gather=False),
    trained.compile(trained.model.score_choices),
  )
  scores = [ranking.score(r, *rankers, shapes) for r in rows]
  rankings = [ranking.rank(r, s) for r, s in zip(rows, scores, strict=True)]
  logits = [some_logits(trained, r, shapes) for r in rows]
  return (
    np.concatenate(logits),
    np.concatenate(scores),
    np.concatenate([r.predictions for r in rankings]),
    float(np.mean([r.accuracy for r in rankings])),
  )


def some_logits(
  trained: Trained, rows: answers.Rows, shapes: Shapes
) -> np.ndarray:
  """Logits [tokens, V] of the targets of a task's first rows."""
  size = shapes.batch_size
  inputs = [rows.choices[i].inputs for i, _ in rows.places[:size]]
  batch = {
    **pad_inputs(inputs, size, shapes.input_length),
    **pad_targets(rows.targets[:size], size, shapes.target_length),
  }
  logits = np.asarray(trained.model.logits(trained.params, batch))
  return logits[batch['decoder_target_tokens'] > 0]


def percent(is_equal: np.ndarray) -> float:
  return 100 * float(is_equal.mean())


if __name__ == '__main__':
  main(sys.argv)
