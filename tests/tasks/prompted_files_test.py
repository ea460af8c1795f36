"""A folder of examples: its tasks, what is refused, and few shots of it."""

import json

import gin
import pytest
import seqio

from moe_lite.core.errors import UserError
from moe_lite.evaluation import results
from moe_lite.process import cli
from tasks import prompted_files
from tasks.mini import data_sets, vocabulary

pytestmark = pytest.mark.usefixtures('own_cache_dirs')

PROMPTS = {'where': 'Where is …?', 'choose': 'Choose: (a), (b)'}
SIZES = {'train': 24, 'validation': 40}


def write(folder, name, rows):
  text = ''.join(json.dumps(row) + '\n' for row in rows)
  (folder / name).write_text(text, encoding='utf-8')


def scenes(split):
  """Rows of the mini suite's scenes, as such a file has them."""
  (scenes,) = (x for x in data_sets.DATA_SETS if x.name == 'scenes')
  templates = list(scenes.templates.values())[:2]
  for i, row in enumerate(scenes.draw(split, SIZES[split])):
    for prompt, template in zip(PROMPTS.values(), templates, strict=True):
      choices = template.choices(row)
      yield {
        'dataset': 'scenes',
        'prompt': prompt,
        'row': 2 * i,
        'inputs': template.prompt(row),
        'choices': list(choices),
        'target': choices[row.answer],
      }


def free(**changes):
  return {
    'dataset': 'sums',
    'prompt': 'plain',
    'row': 0,
    'inputs': '1 + 1',
    'choices': [],
    'target': '2',
    **changes,
  }


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """One folder for all tests, since a process has the tasks of one."""
  folder = tmp_path_factory.mktemp('rows')
  for split in SIZES:
    write(folder, f'scenes.{split}.jsonl', scenes(split))
  write(folder, 'sums.train.jsonl', [free(), free(row=1, prompt='Plain!')])
  (folder / 'README.md').write_text('What is here.')
  return folder


def test_a_task_for_each_prompt_and_a_mixture_of_those_with_choices(folder):
  name = prompted_files.mixture(str(folder))
  assert name == prompted_files.mixture(str(folder)) == 'rows_score_eval'
  tasks = [
    'rows_scenes_choose_a_b_score_eval',
    'rows_scenes_where_is_score_eval',
  ]
  mixture = seqio.get_mixture_or_task(name)
  assert sorted(task.name for task in mixture.tasks) == tasks
  assert set(mixture.tasks[0].splits) == set(SIZES)
  rows = mixture.tasks[0].source.get_dataset('train', shuffle=False)
  numbers = [tuple(x['idx']) for x in rows.take(6).as_numpy_iterator()]
  assert numbers == [(0, 0), (0, 1), (0, 2), (2, 0), (2, 1), (2, 2)]
  # Prompts whose names differ in signs alone are two tasks, without twins.
  known = seqio.TaskRegistry.names()
  assert {'rows_sums_plain', 'rows_sums_plain_'} <= set(known)
  assert 'rows_sums_plain_score_eval' not in known


def test_data_sets_can_be_chosen(folder):
  name = prompted_files.mixture(str(folder), ['scenes'])
  assert name == 'rows_scenes_score_eval'
  with pytest.raises(UserError, match="'scene'.*Did you mean 'scenes'"):
    prompted_files.mixture(str(folder), ['scene'])
  with pytest.raises(UserError, match="no data set 'sums' with answer choices"):
    prompted_files.mixture(str(folder), ['sums'])


def test_a_process_has_the_tasks_of_one_folder(folder, tmp_path):
  prompted_files.mixture(str(folder))
  write(tmp_path, 'sums.train.jsonl', [free()])
  with pytest.raises(UserError, match='another folder'):
    prompted_files.mixture(str(tmp_path))


@pytest.mark.parametrize(
  'row, message',
  [
    (free(row='0'), "row 1: 'row' is '0'.*type int"),
    ({'dataset': 'sums'}, "row 1: 'prompt' is None.*A row has dataset, prompt"),
  ],
)
def test_a_line_that_lacks_something_is_named(tmp_path, row, message):
  write(tmp_path, 'sums.train.jsonl', [row])
  with pytest.raises(UserError, match=message):
    prompted_files.mixture(str(tmp_path))


def test_a_folder_without_rows_is_refused(tmp_path):
  with pytest.raises(UserError, match='copa.train.jsonl'):
    prompted_files.mixture(str(tmp_path))


@pytest.mark.slow
def test_few_shots_teach_their_choices(folder, tmp_path, capsys):
  """Train, ask for other losses, and evaluate, by commands and gin files."""
  run, outcome = tmp_path / 'run', tmp_path / 'eval'

  def command(entry, last, *files, code=0, **macros):
    argv = ['command', *(f'--gin_file={x}' for x in (*files, last))]
    argv += [f'--gin.{name}={value!r}' for name, value in macros.items()]
    assert cli.main(entry, last, argv) == code
    gin.clear_config()

  def train(steps, code=0, **changes):
    command(
      'training.train',
      'runs/few_shot.gin',
      *('models/t5_1_1_mini.gin', 'methods/ia3.gin', 'data/rows.gin'),
      MODEL_DIR=str(run),
      ROWS_DIR=str(folder),
      P3_VOCABULARY=vocabulary.PATH,
      P3_EXTRA_IDS=vocabulary.EXTRA_IDS,
      TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 16},
      SHOTS=16,
      NUM_CHOICES=3,
      TRAIN_STEPS=steps,
      LEARNING_RATE=0.05,
      WARMUP_STEPS=0,
      SAVE_PERIOD=30,
      LOG_PERIOD=20,
      code=code,
      **changes,
    )

  train(60)
  # It is done, but a run of more steps may not have other losses or shots.
  capsys.readouterr()
  train(61, code=2, CHOICE_LOSS=0.5, SHOTS_SEED=1)
  said = capsys.readouterr().err
  assert 'CHOICE_LOSS 1.0 is now 0.5' in said
  assert 'shots_seed 0 is now 1' in said
  lines = (run / 'metrics.jsonl').read_text().splitlines()
  first, *_, last = map(json.loads, lines)
  for name in ('loss', 'likelihood_loss', 'choice_loss'):
    assert last[name] < first[name] / 2, name
  assert last['chosen'] > first['chosen']
  command(
    'evaluation.evaluate',
    'runs/eval.gin',
    str(run / 'config.gin'),
    CHECKPOINT_PATH=str(run),
    EVAL_OUTPUT_DIR=str(outcome),
  )
  (dataset,) = json.loads((outcome / results.JSON).read_text())['datasets']
  assert dataset['dataset'] == 'scenes' and dataset['prompts'] == 2
  assert dataset['chance'] == pytest.approx(100 / 3)
  assert dataset['median'] > 60
