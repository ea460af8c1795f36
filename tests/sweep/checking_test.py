"""Every shipped grid: its configurations, and what its variants train."""

import gin
import pytest

from moe_lite.process import cli
from moe_lite.sweep import checking, command, expansion
from moe_lite.sweep.rows import equal_parameters
from tests.paths import ROOT
from tests.sweep.swept import row

ABLATIONS = sorted(p.stem for p in (ROOT / 'gin/ablations').glob('*.gin'))


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  yield
  gin.clear_config()


def check(name, suite='mini', count=False):
  """The plan of a shipped grid, and what its configurations say."""
  files = [f'--gin_file=ablations/{name}.gin']
  # The folders of the stages before.
  stages = {
    'temperature': ('FIRST_STAGE',),
    'library_gates': ('EXPERTS',),
    'library': ('EXPERTS', 'GATES'),
  }
  for stage in stages.get(name, ()):
    files += [f"--gin.{stage}='x/seed_10{{SEED}}'"]
  if suite == 'p3':
    model = "['models/t5_1_1_small.gin', {'INITIAL_CHECKPOINT_PATH': 'x'}]"
    files += ['--gin_file=suites/p3.gin', f'--gin.MODEL={model}']
  grid = cli.configure(['sweep', *files], command.ENTRIES, 'x')()
  plan = expansion.expand(grid, 'runs/x')
  return plan, checking.check(plan, count)


@pytest.mark.parametrize(
  'name, suite', [*((name, 'mini') for name in ABLATIONS), ('routers', 'p3')]
)
def test_every_configuration_of_every_grid_is_built(name, suite):
  plan, checked = check(name, suite)
  settings = [s for found in plan.settings.values() for s in found]
  assert len({setting.name for setting in settings}) == len(settings)
  trained = {s.name for s in settings if s.variant.is_trained}
  assert checked.train_steps.keys() == trained


@pytest.mark.slow
@pytest.mark.parametrize('name', ABLATIONS)
def test_every_variant_of_every_grid_has_its_shapes(name):
  plan, checked = check(name, count=True)
  assert checked.counts.keys() == plan.settings.keys()
  assert checked.counts['frozen base'] == (0, 1_115_904)


@pytest.mark.slow
def test_the_comparison_has_methods_of_equal_parameters():
  plan, checked = check('methods', count=True)
  assert len(plan.settings['MoV-10'][0].runs) >= 5
  rows = [
    row(name, trained, [1.0]) for name, (trained, _) in checked.counts.items()
  ]
  groups = equal_parameters(rows)
  assert [sorted(row.variant for row in group) for group in groups] == [
    ['LoRA rank 4', 'MoLoRA-3 rank 1', 'MoV-10'],
    ['LoRA rank 13', 'MoLoRA-2 rank 6', 'MoV-30'],
  ]
