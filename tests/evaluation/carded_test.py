"""A card has the evaluations of its own adapters, and of no others."""

import dataclasses

import pytest

from moe_lite.checkpoints.description import BaseInfo
from moe_lite.core.errors import UserError
from moe_lite.evaluation import carded, routing_summary
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
    'examples': 20,
    'chance': 50.0,
    'min': 79.0,
    'median': 81.0,
    'max': 83.0,
  }


def test_other_evaluations_are_left_out(tmp_path, capsys):
  mine = outcomes.outcome(outcomes.MOV, 20)
  other = outcomes.facts(outcomes.MOV, 20, trainable_fingerprint='abc')
  outcomes.write(tmp_path / 'other', outcomes.outcome(checkpoint=other))
  partly = dataclasses.replace(mine, complete=False)
  outcomes.write(tmp_path / 'partly', partly)
  free = outcomes.task('free', 3.0, metric='bleu', kind='generation')
  generated = outcomes.evaluation([free], outcomes.facts(outcomes.MOV, 20))
  outcomes.write(tmp_path / 'generated', generated)
  assert carded.evaluations(str(tmp_path), MINE) == []
  said = capsys.readouterr().err
  assert said.count('not a complete evaluation of these adapters') == 2
  for name in ('other', 'partly'):
    with pytest.raises(UserError, match='leave this folder out'):
      carded.evaluations(str(tmp_path / 'run'), MINE, [str(tmp_path / name)])


def test_the_base_stands_beside_what_measured_the_same(tmp_path, capsys):
  mine = outcomes.outcome(outcomes.MOV, 20, (55.0, 81.0))
  outcomes.write(tmp_path / 'run' / 'eval', mine)
  outcomes.write(tmp_path / 'run' / 'eval_base', outcomes.outcome())
  (found,) = carded.evaluations(str(tmp_path / 'run'), MINE)
  medians = {'nli': 50.0, 'who': 60.0}
  assert found['base'] == {'average': 55.0, 'datasets': medians}
  # Neither does the base of others, nor one that measured something else.
  others = outcomes.facts(base=BaseInfo('mini', 'of others'))
  few = outcomes.settings(num_examples=3)
  for changes in ({'checkpoint': others}, {'settings': few}):
    outcomes.write(tmp_path / 'run' / 'eval_base', outcomes.outcome(**changes))
    (found,) = carded.evaluations(str(tmp_path / 'run'), MINE)
    assert 'base' not in found
    assert 'no evaluation of the adapters measured the same' in (
      capsys.readouterr().err
    )
  outcomes.write(tmp_path / 'elsewhere', outcomes.outcome())
  base = [str(tmp_path / 'elsewhere')]
  (found,) = carded.evaluations(str(tmp_path / 'run'), MINE, base)
  assert found['base']['average'] == 55.0


def test_the_routing_is_that_of_the_report(tmp_path, capsys):
  assert carded.routing(str(tmp_path), MINE) is None
  folder = tmp_path / routing_summary.FOLDER
  folder.mkdir()
  summary = routing_summary.RoutingSummary(
    MINE, ['nli'], 2, 'validation', 64, 'Of 3 routers, 3 stayed uniform.'
  )
  routing_summary.write(folder, summary)
  found = carded.routing(str(tmp_path), MINE)
  assert found == dataclasses.asdict(summary)
  assert carded.routing(str(tmp_path), 'other') is None
  assert 'it is of another checkpoint' in capsys.readouterr().err
  (folder / routing_summary.FILE).write_text('{"of": "x"}')
  with pytest.raises(UserError, match='does not say .*datasets'):
    carded.routing(str(tmp_path), MINE)
