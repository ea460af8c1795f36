"""A tiny run evaluated on a tiny suite, from SeqIO to results.json."""

import dataclasses
import json

import numpy as np
import pytest
import seqio

from moe_lite.checkpoints import runs
from moe_lite.checkpoints.run_checkpoints import Checkpoints
from moe_lite.core import json_lines
from moe_lite.core.errors import UserError
from moe_lite.evaluation import loop, results, results_file
from moe_lite.inference import answers, ranking
from moe_lite.inference.padding import pad_inputs, pad_targets
from moe_lite.inference.source import ModelSource
from tests import tiny_run


@pytest.fixture(scope='module')
def paths(tmp_path_factory):
  tiny_run.add_suite()
  return tiny_run.write(tmp_path_factory.mktemp('evaluation'))


def evaluate(paths, output, checkpoint=None, **changes):
  base, run = paths
  return loop.evaluate(
    **{
      'model': tiny_run.model(),
      'checkpoint_path': run if checkpoint is None else checkpoint,
      'output_dir': str(output),
      'mixture_or_task_name': 'tiny_score_eval',
      'task_feature_lengths': tiny_run.LENGTHS,
      'initial_checkpoint_path': base,
      'base_dtype': 'float32',
      'batch_size': 4,
      **changes,
    }
  )


@pytest.fixture(scope='module')
def evaluated(paths, tmp_path_factory):
  output = tmp_path_factory.mktemp('output')
  return output, evaluate(paths, output)


def test_results_hold_prompts_data_sets_and_where_they_come_from(evaluated):
  output, outcome = evaluated
  assert results_file.read(output / results.JSON) == outcome
  assert outcome.complete
  pair, triple = outcome.datasets
  assert (pair.dataset, triple.dataset) == ('tiny_pair', 'tiny_triple')
  assert (pair.prompts, triple.prompts) == (2, 3)
  assert pair.chance == 50
  np.testing.assert_allclose(triple.chance, 100 / 3)
  values = [task.value for task in outcome.tasks if 'pair' in task.task]
  assert pair.median == sum(values) / 2
  assert outcome.checkpoint.step == tiny_run.STEP
  assert outcome.checkpoint.base.fingerprint
  assert outcome.checkpoint.trainable_parameters > 0
  assert outcome.tasks[0].rows == 12
  written = json.loads((output / results.JSON).read_text())
  assert written.pop('seal')
  assert written == results_file.to_json(outcome)
  assert written['packages']['jax'] and written['command']
  assert 'tiny_pair_0_score_eval' in (output / results.MARKDOWN).read_text()


def test_accuracy_is_that_of_scoring_row_by_row(paths, evaluated):
  base, run = paths
  trained = ModelSource(
    tiny_run.model(), run, base, base_dtype='float32'
  ).load()
  score = trained.compile(trained.model.score_batch)
  for found in evaluated[1].tasks:
    task = seqio.get_mixture_or_task(found.task)
    dataset = task.get_dataset(tiny_run.LENGTHS, 'validation', shuffle=False)
    rows = answers.collect(task.name, dataset.as_numpy_iterator())
    best = {}
    for (i, j), example, right in zip(
      rows.places, rows.answers.example, rows.answers.is_correct, strict=True
    ):
      asked = rows.choices[i]
      value = score(
        {
          **pad_inputs([asked.inputs], 1, 16),
          **pad_targets([asked.targets[j]], 1, 8),
        }
      )
      best.setdefault(example, []).append((-float(value[0]), right))
    right = [min(choices)[1] for choices in best.values()]
    np.testing.assert_allclose(found.value, 100 * np.mean(right))


def test_finished_tasks_are_not_repeated(paths, evaluated, monkeypatch):
  output, outcome = evaluated
  partial = dataclasses.replace(
    outcome, tasks=outcome.tasks[:3], complete=False
  )
  content = results_file.to_json(partial)
  (output / results.JSON).write_text(results_file.text(content))
  scored = []
  score = ranking.score
  monkeypatch.setattr(
    ranking,
    'score',
    lambda rows, *args: scored.append(rows.answers.task) or score(rows, *args),
  )
  again = evaluate(paths, output)
  assert scored == [task.task for task in outcome.tasks[3:]]
  before, now = (
    [dataclasses.replace(task, seconds=0) for task in x.tasks]
    for x in (outcome, again)
  )
  assert now == before
  assert again.average == outcome.average

  scored.clear()
  evaluate(paths, output, length_normalized=True)
  assert len(scored) == len(outcome.tasks)  # Other settings: all anew.


def test_the_frozen_base_is_the_run_without_its_adapters(paths, tmp_path):
  outcome = evaluate(paths, tmp_path, checkpoint='base')
  assert outcome.checkpoint.step is None
  assert outcome.checkpoint.trainable_parameters == 0
  assert 'Nothing trained' in (tmp_path / results.MARKDOWN).read_text()


def test_lines_of_examples_give_the_accuracies(paths, tmp_path):
  outcome = evaluate(paths, tmp_path)
  lines = json_lines.read(tmp_path / results.PREDICTIONS)
  for task in outcome.tasks:
    own = [line for line in lines if line['task'] == task.task]
    assert [line['idx'] for line in own] == list(range(task.examples))
    right = np.average(
      [line['correct'] for line in own],
      weights=[line['weight'] for line in own],
    )
    np.testing.assert_allclose(100 * right, task.value)
    for line in own:
      assert line['choice'] == int(np.argmax(line['scores']))


def test_every_checkpoint_is_evaluated_once(paths, tmp_path, capsys):
  base, run = tiny_run.write(tmp_path / 'made')
  checkpoints = Checkpoints(run)
  tree, said = runs.restore_trainable(run)
  checkpoints.save(9, tree, {'count': np.int32(9)}, {}, said)
  checkpoints.close()
  task = {'mixture_or_task_name': 'tiny_pair_0_score_eval', 'step': 'all'}
  last = evaluate((base, run), tmp_path / 'out', num_examples=2, **task)
  assert last.checkpoint.step == 9
  assert last.tasks[0].examples == 2 and last.tasks[0].rows == 4
  assert sorted(x.name for x in (tmp_path / 'out').iterdir() if x.is_dir()) == [
    f'step_{tiny_run.STEP}',
    'step_9',
  ]
  capsys.readouterr()
  again = evaluate((base, run), tmp_path / 'out', num_examples=2, **task)
  assert capsys.readouterr().err.count('is done') == 2
  assert again == last
  more = evaluate((base, run), tmp_path / 'out', num_examples=1, **task)
  assert more.tasks[0].examples == 1


def test_runs_and_bases_that_do_not_belong_together_are_refused(
  paths, tmp_path
):
  base, run = paths
  other = tiny_run.model(num_experts=3)
  with pytest.raises(UserError, match=r'(?s)key.*num_experts=2.*num_experts=3'):
    evaluate(paths, tmp_path, model=other)
  with pytest.raises(UserError, match='is not a run folder'):
    evaluate(paths, tmp_path, checkpoint=str(tmp_path))


def exact_match(targets, predictions):
  pairs = zip(targets, predictions, strict=True)
  return {'exact_match': 100 * np.mean([t == p for t, p in pairs])}


def test_other_tasks_are_generated_for(paths, tmp_path):
  seen = []

  def postprocess(text, example=None, is_target=False):
    seen.append((text, is_target))
    return text if is_target else 'A b'

  tiny_run.add_task(
    'tiny_free',
    {'inputs': ['a', 'a long one', 'abc'], 'targets': ['A b', 'c', 'A b']},
    metric_fns=[exact_match],
    postprocess_fn=postprocess,
  )
  outcome = evaluate(paths, tmp_path, mixture_or_task_name='tiny_free')
  (task,) = outcome.tasks
  assert task.metric == 'exact_match' and task.chance is None
  np.testing.assert_allclose(task.value, 200 / 3)
  assert [text for text, is_target in seen if is_target] == ['A b', 'c', 'A b']
  assert outcome.average is None


def test_accuracy_of_text_is_not_that_of_ranking(paths, tmp_path):
  tiny_run.add_task(
    'tiny_accuracy',
    {'inputs': ['a'], 'targets': ['b']},
    metric_fns=[lambda targets, predictions: {'accuracy': 50.0}],
  )
  outcome = evaluate(paths, tmp_path, mixture_or_task_name='tiny_accuracy')
  assert outcome.tasks[0].metric == 'generated accuracy'
  assert outcome.average is None


def test_tasks_of_a_mixture_without_the_split_are_left_out(
  paths, tmp_path, capsys
):
  seqio.TaskRegistry.add(
    'tiny_train_only',
    source=seqio.FunctionDataSource(
      lambda split, shuffle_files, seed=None: None, splits=('train',)
    ),
    preprocessors=[],
    output_features=tiny_run.FEATURES,
  )
  seqio.MixtureRegistry.add(
    'tiny_mixed',
    ['tiny_pair_0_score_eval', 'tiny_train_only'],
    default_rate=1.0,
  )
  outcome = evaluate(paths, tmp_path, mixture_or_task_name='tiny_mixed')
  assert [task.task for task in outcome.tasks] == ['tiny_pair_0_score_eval']
  assert "no split 'validation' and are left out: tiny_train_only" in (
    capsys.readouterr().err
  )


def test_tasks_that_cannot_be_evaluated_are_named(paths, tmp_path):
  tiny_run.add_task('tiny_plain', {'inputs': ['a'], 'targets': ['b']})
  columns = tiny_run.score_columns(0)
  empty = {key: np.array(values)[:0] for key, values in columns.items()}
  tiny_run.add_task('tiny_empty_score_eval', empty)
  for name, changes, message in (
    ('tiny_plain', {}, "'tiny_plain' has neither answer choices"),
    ('tiny_empty_score_eval', {}, "'tiny_empty_score_eval' is empty"),
    ('tiny_pair_0_score_eval', {'split': 'test'}, "no split 'test'"),
    ('tiny_score', {}, "Did you mean 'tiny_score_eval'"),
    ('tiny_score_eval', {'batch_size': 0}, 'BATCH_SIZE = 0'),
  ):
    with pytest.raises(UserError, match=message):
      evaluate(paths, tmp_path, mixture_or_task_name=name, **changes)


def test_a_diverged_run_is_an_error_that_names_the_task(paths, tmp_path):
  nan = tmp_path / 'nan'
  nan.mkdir()
  # Finite parameters whose outputs are not.
  base, run = tiny_run.write(nan, scale=5e37)
  with pytest.raises(UserError, match="'tiny_pair_0_score_eval'.*not finite"):
    evaluate((base, run), tmp_path)
