"""P3's registry: every task and mixture of T0, from the table."""

import csv
import json
import subprocess
import sys

import pytest
import seqio

from moe_lite.data import catalog, dataset
from tasks import metrics
from tasks.p3 import suite
from tasks.p3 import table as p3_table
from tests.paths import SHARED
from tests.tasks.p3 import facts

FACTS = SHARED / 'data' / 'p3'
needs_facts = pytest.mark.skipif(
  not FACTS.exists(), reason=f'{FACTS} is absent.'
)

# Tasks, data sets (ANLI's rounds apart), sum of rates: T0's, as published.
MIXTURES = {
  't0_train': (313, 38, 17_277_798),
  't0+_train': (392, 48, 20_672_671),
  't0++_train': (464, 54, 23_118_591),
  't0_train_one_og_prompt': (35, 35, 1_993_444),
  't0_train_all_og_prompts': (222, 35, 12_527_831),
  't0_eval_score_eval': (111, 10, None),
  't0_train_score_eval': (89, 14, None),
  'bias_fairness_eval_score_eval': (16, 2, None),
}


@pytest.mark.parametrize('name', MIXTURES)
def test_mixtures_have_the_tasks_and_rates_of_t0(name):
  tasks, datasets, rates = MIXTURES[name]
  mixture = seqio.MixtureRegistry.get(name)
  assert len(mixture.tasks) == tasks
  infos = [catalog.lookup(task.name) for task in mixture.tasks]
  assert len({info.dataset for info in infos}) == datasets
  if rates is not None:
    assert sum(mixture.get_rate(task) for task in mixture.tasks) == rates


def test_every_data_set_is_a_mixture_at_the_rates_of_t0():
  whole = seqio.MixtureRegistry.get('t0++_train')
  rates = {task.name: whole.get_rate(task) for task in whole.tasks}
  names = {catalog.lookup(name).dataset for name in rates}
  found = {}
  for name in names:
    mixture = seqio.MixtureRegistry.get(f'p3_{name}')
    assert {catalog.lookup(x.name).dataset for x in mixture.tasks} == {name}
    found |= {task.name: mixture.get_rate(task) for task in mixture.tasks}
  assert found == rates
  held_out = seqio.MixtureRegistry.get('p3_super_glue_rte_score_eval')
  assert len(held_out.tasks) == 10


def test_all_tasks_and_their_twins_are_registered():
  prompts = p3_table.prompts().values()
  assert len(prompts) == 592 + 5
  names = set(seqio.TaskRegistry.names())
  assert {prompt.task for prompt in prompts} <= names
  twins = {prompt.twin for prompt in prompts if prompt.has_choices}
  assert twins <= names and len(twins) == 383 + 5


def test_held_out_data_sets_make_eight_columns():
  tasks = seqio.MixtureRegistry.get('t0_eval_score_eval').tasks
  infos = [catalog.lookup(task.name) for task in tasks]
  assert all(info.held_out for info in infos)
  assert len({info.column or info.dataset for info in infos}) == 8
  assert {info.column for info in infos} == {None, 'anli'}
  trained = seqio.MixtureRegistry.get('t0_train').tasks
  assert not any(catalog.lookup(task.name).held_out for task in trained)


def test_every_metric_of_the_table_is_there():
  named = {m for p in p3_table.prompts().values() for m in p.metrics}
  assert named <= metrics.METRICS.keys()


def test_a_training_task_measures_text_and_its_twin_ranks():
  task = seqio.TaskRegistry.get('cos_e_v1.11_question_option_description_text')
  assert task.predict_metric_fns and not task.score_metric_fns
  twin = seqio.TaskRegistry.get(task.name + catalog.SCORE_EVAL)
  assert twin.score_metric_fns and not twin.predict_metric_fns
  assert set(task.splits) == {'train', 'validation'}


@needs_facts
def test_the_table_is_made_from_the_facts():
  assert p3_table.PATH.read_text(encoding='utf-8') == facts.table(FACTS)


@needs_facts
def test_every_published_configuration_resolves():
  with (FACTS / 'hub_tasks.csv').open(encoding='utf-8') as file:
    hub = list(csv.DictReader(file))
  assert len(hub) == 660
  for config in hub:
    task = seqio.get_mixture_or_task(config['config_name'])
    sizes = {s: int(config[s]) for s in ('train', 'test') if config[s]}
    if config['validation']:
      sizes['validation'] = int(config['validation'])
    if config['other_splits']:
      sizes |= json.loads(config['other_splits'])
    assert p3_table.published_rows(task.name) == sizes
    assert {s: task.num_input_examples(s) for s in task.splits} == sizes


@pytest.mark.slow
def test_importing_takes_no_disk_and_little_time():
  """Beside SeqIO's own import, which every run has paid."""
  code = """
import builtins, io, os, pathlib, time, seqio
import tensorflow as tf
opened = []
for module, name in ((builtins, 'open'), (io, 'open'), (os, 'listdir')):
  before = getattr(module, name)
  def record(path, *args, _before=before, **options):
    opened.append(str(path))
    return _before(path, *args, **options)
  setattr(module, name, record)
tf.io.gfile.exists = tf.io.gfile.GFile = None
start = time.monotonic()
import tasks.p3
print(time.monotonic() - start)
outside = [p for p in opened if not p.endswith(('.py', '.pyc', 'p3_table.csv'))]
print(outside)
"""
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  seconds, outside = done.stdout.splitlines()
  assert float(seconds) < 3
  assert json.loads(outside.replace("'", '"')) == []


def test_the_vocabulary_of_t5_is_known_without_its_file():
  vocabulary = suite.FEATURES['inputs'].vocabulary
  assert vocabulary.vocab_size == 32_100
  assert (vocabulary.pad_id, vocabulary.eos_id, vocabulary.unk_id) == (0, 1, 2)


def test_what_was_published_is_known_with_its_marks():
  table = catalog.published('t0_eval_score_eval')
  averages = {one.name: (one.average, one.mark) for one in table.averages}
  assert averages['MoV-10'] == (59.93, 'N')
  assert averages['(IA)3'] == (52.90, 'D')
  assert {one.mark for one in table.averages} == table.marks.keys()


def test_a_twin_of_unknown_answers_has_no_split_and_is_left_out():
  tasks = seqio.MixtureRegistry.get('t0_train_score_eval').tasks
  without = [task.name for task in tasks if not dataset.splits_of(task)]
  assert without == ['wiqa_effect_with_string_answer_score_eval']
