"""Evaluations side by side, by command."""

import json

import pytest

from moe_lite.evaluation import report, results
from moe_lite.process import cli
from tests.evaluation.outcomes import write_two


@pytest.fixture
def folders(tmp_path):
  """Evaluations of the frozen base and of MoV, on disk."""
  return write_two(tmp_path)


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
  assert 'base mini (abc)' in page and printed.out.strip() in page
  assert (tmp_path / 'both' / results.PLOT).read_bytes()[:4] == b'\x89PNG'
  (who,) = [d for d in written['datasets'] if d['dataset'] == 'who']
  assert [sorted(values) for values in who['values']] == [[58, 62], [79, 83]]


def test_mistakes_end_with_code_2(folders, tmp_path, capsys):
  for argv, message in (
    ([], 'Give one or more'),
    ([str(tmp_path)], 'has no results.json'),
    ([*folders, f'--to={folders[0]}'], 'would overwrite'),
  ):
    code, printed = run(capsys, *argv)
    assert code == 2 and message in printed.err, printed.err
