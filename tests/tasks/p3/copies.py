"""Copies of P3 that tests make, spoil, bind and read."""

import gin
import seqio

from moe_lite.data import dataset
from moe_lite.process import cli
from tasks import fetch_p3
from tasks.mini import vocabulary
from tests.tasks.p3 import rows as p3_rows

# A task of each signature: with answer choices, without them, and a twin.
TRAIN = 'cos_e_v1.11_question_option_description_text'
FREE = 'adversarial_qa_dbert_based_on'
TWIN = 'super_glue_cb_can_we_infer_score_eval'
PUBLISHED = (TRAIN, FREE, TWIN)
LENGTHS = {'inputs': 64, 'targets': 16}
# Rows of a split, or examples of a twin.
ROWS = {'train': 7, 'validation': 3}


def read(name, split='train', **options):
  """Rows of a task, in order."""
  # A copy of the task, since a task remembers where it found its cache.
  task = seqio.TaskRegistry.get(name).replace()
  return dataset.read(task, split, LENGTHS, **options)


def use_mini_vocabulary():
  """Has P3's text tokenized with the vocabulary of the mini suite."""
  bind(
    f'vocabulary.path = {vocabulary.PATH!r}',
    f'vocabulary.extra_ids = {vocabulary.EXTRA_IDS}',
  )


def bind(*lines, module='tasks.p3.settings'):
  """Binds what a gin file would bind in P3's settings."""
  folder, _, name = module.rpartition('.')
  head = 'from __gin__ import dynamic_registration\n'
  body = '\n'.join(f'{name}.{line}' for line in lines)
  gin.parse_config(f'{head}from {folder} import {name}\n{body}')


def damage(tmp_path, how):
  """Writes a copy, spoils it in one way, and returns what errors must say."""
  p3_rows.write_cache(tmp_path, TRAIN, {'train': 300, 'validation': 3})
  folder = tmp_path / TRAIN
  records = folder / 'train.tfrecord-00000-of-00001'
  if how == 'COMPLETED is lost':
    (folder / 'COMPLETED').unlink()
    return f'no file COMPLETED.*touch {folder}/COMPLETED'
  if how == 'the split has no rows':
    (folder / 'info.train.json').write_text('{}')
    return 'no rows in split'
  if how == 'the split is missing':
    (folder / 'info.train.json').unlink()
    return "no split 'train'.*only validation"
  if how == 'info is damaged':
    (folder / 'info.train.json').write_text('{"num')
    return 'damaged info.train.json'
  if how == 'a file is missing':
    records.unlink()
    return f'lacks {records.name}'
  if how == 'a file is empty':
    records.write_bytes(b'')
    return f'empty file, {records.name}'
  if how == 'the folder is empty':
    for file in folder.iterdir():
      file.unlink()
    return 'neither a SeqIO cache nor parquet'
  assert how == 'a file is cut short'
  records.write_bytes(records.read_bytes()[:-50])
  return f'{records} is damaged or cut short'


def sizes(task):
  """The number of rows of each split, as `written` gives them."""
  return {split: len(written(task, split)) for split in ROWS}


def written(task, split):
  """The rows of a task that the repository holds."""
  return p3_rows.rows(task, split, ROWS[split])


def fetch(out, capsys, *flags, tasks=PUBLISHED):
  """Runs `tasks.fetch_p3` in this process: its exit code, what it printed."""
  argv = ['fetch_p3', f'--out={out}', '--workers=0', *flags]
  if tasks:
    argv.append(f'--tasks={",".join(tasks)}')
  code = cli.guard(fetch_p3.fetch, argv, fetch_p3.__doc__)
  printed = capsys.readouterr()
  return code, printed.out + printed.err
