"""Training on P3 and its table, end to end, on a synthetic copy in each layout.

The tasks are P3's own: T0's one original prompt for each of 35 training data
sets, and twins of all ten held-out ones. By default a few of them are taken.
"""

import json

import gin
import pytest
import seqio

from moe_lite.evaluation import results
from moe_lite.process import cli
from tasks.mini import vocabulary
from tasks.p3 import table
from tests.tasks.p3 import rows as p3_rows
from tests.tasks.p3 import synthetic

TRAINING = table.members('t0_train_one_og_prompt')
HELD_OUT = table.members('t0_eval_score_eval')
# One prompt of each data set, and a second one of two.
EVALUATED = (
  *{table.lookup(name).dataset: name for name in HELD_OUT}.values(),
  *[n for n in HELD_OUT if n.startswith(('super_glue_cb_GPT', 'anli_GPT_3_s'))],
)
SIZES = {'train': 24, 'validation': 6}
# Name to (training tasks, held-out tasks).
PARTS = {
  'few': (TRAINING[::18], [n for n in EVALUATED if n.startswith('anli_')]),
  'all': (TRAINING, EVALUATED),
}


def write(folder, layout, names):
  """A synthetic P3 on disk."""
  for name in names:
    sizes = {s: n for s, n in SIZES.items() if s in table.published_rows(name)}
    if layout == 'tfrecord':
      p3_rows.write_cache(folder, name, sizes)
    else:
      for split, number in sizes.items():
        rows = p3_rows.rows(name, split, number)
        synthetic.write_parquet(folder, name, split, rows)


@pytest.fixture(autouse=True)
def mixtures():
  """The mixtures of each part."""
  for part, (training, evaluated) in PARTS.items():
    for name, tasks in (
      (f'p3_test_{part}', training),
      (f'p3_test_{part}_score_eval', evaluated),
    ):
      if name not in seqio.MixtureRegistry.names():
        seqio.MixtureRegistry.add(name, tasks, default_rate=1.0)
  yield
  gin.clear_config()
  seqio.set_global_cache_dirs([])


def run(entry, copy, *files, **macros):
  seqio.set_global_cache_dirs([])
  macros = {
    'P3_VOCABULARY': vocabulary.PATH,
    'P3_EXTRA_IDS': vocabulary.EXTRA_IDS,
    'TASK_FEATURE_LENGTHS': {'inputs': 48, 'targets': 16},
    **macros,
  }
  argv = [
    'command',
    *(
      f'--gin_file={file}.gin'
      for file in ('models/t5_1_1_mini', 'methods/mov', *files)
    ),
    f'--seqio_additional_cache_dirs={copy}',
    *(f'--gin.{name}={value!r}' for name, value in macros.items()),
  ]
  assert cli.main(entry, f'{files[-1]}.gin', argv) == 0


def train_and_evaluate(copy, part):
  """The training loss of each step, and what evaluation found."""
  run(
    'training.train',
    copy,
    'data/t0_train',
    'runs/finetune',
    MIXTURE_OR_TASK_NAME=f'p3_test_{part}',
    MODEL_DIR=str(copy / 'run'),
    TRAIN_STEPS=3,
    LOG_PERIOD=1,
    BATCH_SIZE=4,
    NUM_EXPERTS=2,
  )
  lines = (copy / 'run' / 'metrics.jsonl').read_text().splitlines()
  run(
    'evaluation.evaluate',
    copy,
    'data/t0_eval',
    'runs/eval',
    MIXTURE_OR_TASK_NAME=f'p3_test_{part}_score_eval',
    CHECKPOINT_PATH=str(copy / 'run'),
    EVAL_OUTPUT_DIR=str(copy / 'eval'),
    BATCH_SIZE=8,
    NUM_EXPERTS=2,
  )
  found = json.loads((copy / 'eval' / results.JSON).read_text())
  return [json.loads(line)['loss'] for line in lines], found


@pytest.mark.slow
@pytest.mark.parametrize('part', ['few', 'all'])
def test_trains_and_ranks_alike_from_both_layouts(tmp_path, part):
  training, evaluated = PARTS[part]
  outcomes = []
  for layout in ('tfrecord', 'parquet'):
    (tmp_path / layout).mkdir()
    write(tmp_path / layout, layout, (*training, *evaluated))
    losses, found = train_and_evaluate(tmp_path / layout, part)
    outcomes.append((losses, [task['value'] for task in found['tasks']]))
  assert outcomes[0] == outcomes[1]
  assert len(losses) == 3
  assert len(found['tasks']) == len(evaluated)
  number = SIZES['validation']
  assert all(task['examples'] == number for task in found['tasks'])
  assert len(found['columns']) == (8 if part == 'all' else 1)
  (anli,) = [c for c in found['columns'] if c['column'] == 'anli']
  assert anli['datasets'] == ['anli_r1', 'anli_r2', 'anli_r3']


def test_these_are_most_of_the_data_sets():
  assert len(TRAINING) + len(EVALUATED) >= 40
