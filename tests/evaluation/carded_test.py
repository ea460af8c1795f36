"""A card has the evaluations of its own adapters, and of no others."""

import dataclasses

import pytest

from moe_lite.core.errors import UserError
from moe_lite.evaluation import carded
from tests.evaluation import outcomes

MINE = 'def'


def test_evaluations_in_the_run_and_elsewhere_are_found(tmp_path):
  run, elsewhere = tmp_path / 'run', tmp_path / 'elsewhere'
  outcomes.write(run / 'eval', outcomes.outcome(outcomes.MOV, 20, (55.0, 81.0)))
  outcomes.write(elsewhere, outcomes.outcome(outcomes.MOV, 20))
  found = carded.evaluations(str(run), MINE, [str(elsewhere)])
  assert [x['folder'] for x in found] == [str(run / 'eval'), str(elsewhere)]
  assert [x['average'] for x in found] == [68.0, 55.0]
  assert found[0]['mixture'] == 'suite'
  assert found[0]['datasets']['who'] == {
    'prompts': 2,
    'chance': 50.0,
    'min': 79.0,
    'median': 81.0,
    'max': 83.0,
  }


def test_other_evaluations_are_left_out(tmp_path, capsys):
  mine = outcomes.outcome(outcomes.MOV, 20)
  outcomes.write(tmp_path / 'base', outcomes.outcome())
  partly = dataclasses.replace(mine, complete=False)
  outcomes.write(tmp_path / 'partly', partly)
  free = outcomes.task('free', 3.0, metric='bleu', kind='generation')
  generated = outcomes.evaluation([free], outcomes.facts(outcomes.MOV, 20))
  outcomes.write(tmp_path / 'generated', generated)
  assert carded.evaluations(str(tmp_path), MINE) == []
  said = capsys.readouterr().err
  assert said.count('not a complete evaluation of these adapters') == 2
  for name in ('base', 'partly'):
    with pytest.raises(UserError, match='leave this folder out'):
      carded.evaluations(str(tmp_path / 'run'), MINE, [str(tmp_path / name)])
