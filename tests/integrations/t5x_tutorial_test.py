"""docs/tutorials/t5x.md: its commands run as printed, with T5X."""

import json

import pytest

from tests import docs_test
from tests.integrations.t5x_commands import needs_t5x
from tests.paths import ROOT


@needs_t5x
@pytest.mark.t5x
def test_the_tutorial_runs_as_printed(tmp_path):
  text = (ROOT / 'docs' / 'tutorials' / 't5x.md').read_text()
  commands = docs_test.script(text)
  assert commands.count('moe_lite.t5x') == 3
  docs_test.run(commands, tmp_path)
  for step in (50, 100):
    assert (tmp_path / f'runs/t5x/checkpoint_{step}').is_dir()
  table = json.loads((tmp_path / 'runs/t5x/table/results.json').read_text())
  assert table['average']['median'] > table['average']['chance']
  assert list((tmp_path / 'runs/t5x/infer').glob('*.jsonl*'))
