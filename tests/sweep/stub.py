"""Stands in for moe_lite.train and moe_lite.eval, in milliseconds.

`python stub.py moe_lite.train --gin...` takes 4 steps, each saved; evaluation
gives numbers that depend on the run's flags alone. It imports nothing slow.
"""

import json
import pathlib
import sys
import time

SECONDS = 0.02
FAIL = 'fail'


def train(folder, flags):
  folder.mkdir(parents=True, exist_ok=True)
  if (folder / FAIL).exists():
    print('error: the base is gone.', file=sys.stderr)
    sys.exit(2)
  (folder / 'flags.json').write_text(json.dumps(flags))
  for step in range(1, 5):
    saved = folder / 'checkpoints' / str(step)
    if not (saved / 'description').exists():
      time.sleep(SECONDS)
      saved.mkdir(parents=True, exist_ok=True)
      (saved / 'description').touch()
      with (folder / 'metrics.jsonl').open('a') as file:
        file.write(json.dumps({'step': step, 'seconds_per_step': 0.5}) + '\n')
  (folder / 'run.json').write_text(json.dumps({'step_bytes': 2**20}))


def evaluate(folder, checkpoint):
  flags = []
  if checkpoint != 'base':
    flags = json.loads(pathlib.Path(checkpoint, 'flags.json').read_text())
  # The same in every process, unlike `hash`, and in every sweep's folder.
  text = ' '.join(f for f in flags if 'MODEL_DIR' not in f) + folder.name
  number = sum(i * ord(c) for i, c in enumerate(text)) % 1000 / 10
  time.sleep(SECONDS)
  values = {'who': number, 'nli': number / 2}
  averages = lambda value: {'median': value, 'mean': value, 'chance': 50.0}
  place = lambda name: {'dataset': name, 'cluster': name, 'held_out': True}
  spread = lambda value: dict.fromkeys(('q1', 'q3', 'min', 'max'), value)
  outcome = {
    'complete': True,
    'checkpoint': {
      'checkpoint': checkpoint,
      'step': 4 if flags else None,
      'base': {'source': 'mini', 'fingerprint': 'abc'},
      'method': {},
      'trainable_parameters': 10 if flags else 0,
      'base_parameters': 1000,
      'trainable_fingerprint': text,
    },
    'settings': {
      'mixture_or_task_name': folder.name,
      'split': 'validation',
      'task_feature_lengths': {'inputs': 8, 'targets': 8},
      'length_normalized': False,
    },
    'average': averages(0.75 * number),
    'datasets': [
      {
        **place(name),
        'metric': 'accuracy',
        'column': name,
        'prompts': 1,
        **averages(value),
        **spread(value),
      }
      for name, value in values.items()
    ],
    'columns': [
      {'column': name, 'datasets': [name], **averages(value)}
      for name, value in values.items()
    ],
    'tasks': [
      {
        'task': name,
        **place(name),
        'column': None,
        'template': '',
        'chance': 50.0,
        'kind': 'rank classification',
        'metric': 'accuracy',
        'value': value,
        'metrics': {'accuracy': value},
        'examples': 10,
        'seconds': 1.0,
      }
      for name, value in values.items()
    ],
    'device_kind': 'cpu',
  }
  folder.mkdir(parents=True, exist_ok=True)
  # Whole or not at all, as evaluation writes it.
  partial = folder / 'partial'
  partial.write_text(json.dumps(outcome))
  partial.replace(folder / 'results.json')


def main(module, *flags):
  given = {}
  for flag in flags:
    name, _, value = flag.partition('=')
    given[name] = value.strip("'")
  if module == 'moe_lite.train':
    train(pathlib.Path(given['--gin.MODEL_DIR']), flags)
  else:
    output = pathlib.Path(given['--gin.EVAL_OUTPUT_DIR'])
    evaluate(output, given['--gin.CHECKPOINT_PATH'])


if __name__ == '__main__':
  main(*sys.argv[1:])
