"""Recipes: whole runs of the paper, the slices that preflight found, and the
runs of the mini suite's comparison, with what they gave."""

import csv
import json

import gin
import pytest

from moe_lite.core import parameters
from moe_lite.models import model
from moe_lite.preflight import slices
from moe_lite.process import cli
from moe_lite.sweep import command, expansion, intervals
from tests import gin_test
from tests.paths import ROOT

FOLDER = ROOT / 'gin' / 'recipes'
RECIPES = slices.recipes()
SLICES = {entry.recipe: entry for entry in slices.read()}
METHODS = [
  'ia3',
  'lora_4',
  'lora_8',
  'mov_10',
  'mov_30',
  'mov_60',
  'molora_2',
  'molora_5',
  'molora_10',
  'molora_15',
  'full',
]
# Recipe to the variant of ablations/methods.gin.
MINI = {
  'mini_full': 'full fine-tuning',
  'mini_ia3': 'IA3',
  'mini_lora_4': 'LoRA rank 4',
  'mini_lora_13': 'LoRA rank 13',
  'mini_mov_10': 'MoV-10',
  'mini_mov_30': 'MoV-30',
  'mini_molora_3_rank_1': 'MoLoRA-3 rank 1',
  'mini_molora_2_rank_6': 'MoLoRA-2 rank 6',
}


@pytest.fixture(autouse=True)
def empty_config():
  gin.clear_config()
  yield
  gin.clear_config()


def test_every_run_of_the_paper_has_one():
  sizes = ('large', 'xl', 'xxl')
  assert set(RECIPES) == {f'{s}_{m}' for s in sizes for m in METHODS}


@pytest.mark.parametrize('recipe', RECIPES)
def test_a_recipe_is_a_run_with_the_papers_setting(recipe):
  flags = ['MODEL_DIR', 'INITIAL_CHECKPOINT_PATH', 'MIXTURE_OR_TASK_NAME']
  argv = gin_test.command(f'recipes/{recipe}', flags=flags)
  cli.configure(argv, 'training.train', 'runs/finetune.gin')
  arguments = gin.get_bindings('training.train')
  assert isinstance(arguments['model'], model.EncoderDecoderModel)
  is_full = recipe.endswith('_full')
  assert arguments['train_steps'] == (10_000 if is_full else 500_000)
  assert arguments['dataset'].batch_size == (256 if is_full else 32)
  assert dict(arguments['dataset'].task_feature_lengths) == {
    'inputs': 1024,
    'targets': 256,
  }
  assert arguments['schedule'](7) == pytest.approx(1e-3 if is_full else 3e-4)
  _, method, *variant = recipe.split('_')
  if variant:
    name = 'RANK' if method == 'lora' else 'NUM_EXPERTS'
    assert gin.query_parameter(f'%{name}') == int(variant[0])
  expected = parameters.EVERYTHING if is_full else parameters.TRAINABLE_ADAPTERS
  assert arguments['trainable'] == expected


@pytest.mark.parametrize('recipe', RECIPES)
def test_a_recipe_says_what_preflight_found(recipe):
  text = (FOLDER / f'{recipe}.gin').read_text()
  assert 'not yet run' in text
  entry = SLICES[recipe]
  assert f'# Slice: {entry.topology} ' in text
  for name, value in entry.settings.items():
    assert f'\n{name} = {value!r}\n' in text
  assert entry.report['fits']


def test_the_table_is_that_of_the_file():
  text = slices.README.read_text()
  found = text.partition(slices.BEGIN)[2].partition(slices.END)[0].strip()
  assert found == slices.markdown(slices.read())
  assert json.loads(slices.SLICES.read_text())


def read(name):
  with (FOLDER / name).open() as file:
    return list(csv.DictReader(file))


def measured():
  """What the comparison gave, by variant."""
  return {row['variant']: row for row in read('mini.csv')}


def average(row):
  half = float(row['half_interval'] or 0)
  return f'{float(row["average"]):.1f}' + (f' ± {half:.1f}' if half else '')


def comparison():
  """Settings of the grid that was run, by variant."""
  argv = ['sweep', '--gin_file=ablations/methods.gin']
  return expansion.expand(
    cli.configure(argv, command.ENTRIES, 'x')(), 'root'
  ).settings


def test_every_variant_of_the_comparison_has_a_recipe_and_a_result():
  settings = comparison()
  assert {'frozen base', *MINI.values()} == set(settings)
  assert set(measured()) == set(settings)
  assert {p.stem for p in FOLDER.glob('mini_*.gin')} == set(MINI)


def test_what_was_measured_follows_from_the_runs():
  runs = read('mini_runs.csv')
  for name, settings in comparison().items():
    values = [float(r['average']) for r in runs if r['variant'] == name]
    assert len(values) == len(settings[0].runs)
    mean, half = intervals.interval(values)
    row = measured()[name]
    assert float(row['average']) == pytest.approx(mean)
    assert float(row['half_interval'] or 0) == pytest.approx(half or 0)


@pytest.mark.parametrize('recipe', MINI)
def test_a_mini_recipe_is_the_run_that_was_measured(recipe):
  row = measured()[MINI[recipe]]
  settings = comparison()[MINI[recipe]]
  (setting,) = (s for s in settings if s.choice.name == row['choice'])
  flags = setting.runs[0].train.flags
  configurations = []
  for given in (flags, (f'--gin_file=recipes/{recipe}.gin', *flags[-2:])):
    gin.clear_config()
    cli.configure(['train', *given], 'training.train', 'runs/finetune.gin')
    configurations.append(gin.config_str())
  assert configurations[0] == configurations[1]
  text = ' '.join((FOLDER / f'{recipe}.gin').read_text().split())
  assert f'With this package: {average(row)} ' in text


def test_few_shots_have_the_setting_of_t_few():
  flags = ['MODEL_DIR', 'INITIAL_CHECKPOINT_PATH']
  flags += ['MIXTURE_OR_TASK_NAME', 'ROWS_DIR']
  argv = gin_test.command('recipes/few_shot', flags=flags)
  cli.configure(argv, 'training.train', 'runs/few_shot.gin')
  arguments = gin.get_bindings('training.train')
  trained, dataset = arguments['model'], arguments['dataset']
  assert (trained.unlikelihood, trained.choice_loss) == (1.0, 1.0)
  assert (arguments['train_steps'], dataset.batch_size) == (1000, 8)
  assert (dataset.shots, dataset.num_choices) == (32, 4)
  rates = [float(arguments['schedule'](step)) for step in (30, 60, 530, 1000)]
  assert rates == pytest.approx([1.5e-3, 3e-3, 1.5e-3, 0.0])
  variables = trained.abstract_variables()['params']
  (moving, _) = parameters.split(variables, arguments['trainable'])
  assert parameters.count(moving) == gin_test.IA3[1]


@pytest.mark.parametrize(
  'page', ['docs/how_to/ablate.md', 'gin/recipes/README.md']
)
def test_pages_say_what_was_measured(page):
  lines = (ROOT / page).read_text().split('\n')
  for variant, row in measured().items():
    trained = f'{int(row["trainable_parameters"]):,}'
    of_variant = [x for x in lines if x.startswith(f'| {variant} |')]
    assert any(
      f'| {trained} |' in x and f'| {average(row)} |' in x for x in of_variant
    ), variant
    if row['step_mib']:
      time = f'{float(row["milliseconds_per_step"]):.0f}'
      assert any(
        f'| {time} |' in x and x.endswith(f'| {row["step_mib"]} |')
        for x in of_variant
      ), variant
