"""Evaluations side by side, by function and by command."""

import json

import pytest

from moe_lite.core.errors import UserError
from moe_lite.evaluation import comparison, report, results
from moe_lite.process import cli


def outcome(method=(), trained=0, values=(50.0, 60.0), **changes):
  """A results.json of two data sets with two prompts each."""
  tasks = [
    {
      'task': f'{name}_{prompt}',
      'dataset': name,
      'column': None,
      'cluster': name,
      'held_out': True,
      'metric': results.ACCURACY,
      'value': value + shift,
      'chance': 50.0,
      'seconds': 1.0,
    }
    for name, value in zip(('nli', 'who'), values, strict=True)
    for prompt, shift in enumerate((-2, 2))
  ]
  return {
    'complete': True,
    'checkpoint': {
      'checkpoint': 'runs/x' if trained else 'base',
      'step': 7 if trained else None,
      'base': {'source': 'mini', 'fingerprint': 'f'},
      'method': dict(method),
      'trainable_parameters': trained,
      'base_parameters': 1000,
    },
    'settings': {
      'mixture_or_task_name': 'm',
      'split': 'validation',
      'task_feature_lengths': {'inputs': 8, 'targets': 8},
      'length_normalized': False,
    },
    **results.summarize(tasks),
    'tasks': tasks,
    **changes,
  }


MOV = {'key': 'MoV(num_experts=10, router=SoftRouter(num_experts=10))'}
LORA = {'key': 'LoRA(rank=4, alpha=16.0)'}


@pytest.fixture
def folders(tmp_path):
  """Evaluations of the frozen base and of MoV, on disk."""
  outcomes = {
    'base': outcome(),
    'mov': outcome(MOV, 20, (55.0, 81.0)),
  }
  for name, content in outcomes.items():
    (tmp_path / name).mkdir()
    (tmp_path / name / results.JSON).write_text(json.dumps(content))
  return [str(tmp_path / name) for name in outcomes]


def run(capsys, *argv):
  code = cli.guard(report.report, ['report', *argv], None)
  return code, capsys.readouterr()


def test_the_table_lays_runs_side_by_side(folders, tmp_path, capsys):
  code, printed = run(capsys, *folders, f'--to={tmp_path / "both"}')
  assert code == 0
  rows = {
    cells[0]: cells[1:]
    for cells in (
      [cell.strip() for cell in line.strip('|').split('|')]
      for line in printed.out.splitlines()
    )
  }
  assert rows['data set'] == ['prompts', 'chance', 'frozen base', 'MoV-10']
  assert rows['who'] == ['2', '50.0', '60.0', '81.0']
  assert rows['average'] == ['', '50.0', '55.0', '68.0']
  assert rows['trained'] == ['', '', '0', '20']
  assert rows['% of base'] == ['', '', '0', '2']
  written = json.loads((tmp_path / 'both' / results.JSON).read_text())
  assert [run['name'] for run in written['runs']] == ['frozen base', 'MoV-10']
  page = (tmp_path / 'both' / results.MARKDOWN).read_text()
  assert 'base mini (f)' in page and printed.out.strip() in page
  assert (tmp_path / 'both' / results.PLOT).read_bytes()[:4] == b'\x89PNG'
  (who,) = [d for d in written['datasets'] if d['dataset'] == 'who']
  assert [sorted(values) for values in who['values']] == [[58, 62], [79, 83]]


def test_runs_are_named_by_what_they_trained():
  outcomes = [
    outcome(),
    outcome(LORA, 10),
    outcome(LORA, 10),
    outcome({}, 1000),
  ]
  names = [run['name'] for run in comparison.compare(outcomes)['runs']]
  assert names == [
    'frozen base',
    'LoRA rank 4',
    'LoRA rank 4 (2)',
    'full fine-tuning',
  ]


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'complete': False}, 'is not complete'),
    (
      {'settings': {**outcome()['settings'], 'split': 'test'}},
      "split = 'test', but .* 'validation'",
    ),
    ({'datasets': outcome()['datasets'][:1]}, 'lacks dataset who'),
  ],
)
def test_what_cannot_be_compared_is_refused(folders, changes, message):
  with open(f'{folders[1]}/{results.JSON}', 'w') as file:
    json.dump({**outcome(MOV, 20), **changes}, file)
  with pytest.raises(UserError, match=message):
    comparison.read(folders)


def test_mistakes_end_with_code_2(folders, tmp_path, capsys):
  for argv, message in (
    ([], 'Give one or more'),
    ([str(tmp_path)], 'has no results.json'),
    ([*folders, f'--to={folders[0]}'], 'would overwrite'),
  ):
    code, printed = run(capsys, *argv)
    assert code == 2 and message in printed.err, printed.err
