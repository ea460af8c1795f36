"""Recipes: whole runs of the paper, and the slices that preflight found."""

import json
import pathlib

import gin
import pytest

from moe_lite import cli, models, parameters
from moe_lite.preflight import table
from tests import gin_test

ROOT = pathlib.Path(__file__).parents[1]
RECIPES = table.recipes()
SLICES = {entry.recipe: entry for entry in table.read()}
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
  assert isinstance(arguments['model'], models.EncoderDecoderModel)
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
  text = (ROOT / 'gin' / 'recipes' / f'{recipe}.gin').read_text()
  assert 'not yet run' in text
  entry = SLICES[recipe]
  assert f'# Slice: {entry.topology} ' in text
  for name, value in entry.settings.items():
    assert f'\n{name} = {value!r}\n' in text
  assert entry.report['fits']


def test_the_table_is_that_of_the_file():
  text = table.README.read_text()
  found = text.partition(table.BEGIN)[2].partition(table.END)[0].strip()
  assert found == table.markdown(table.read())
  assert json.loads(table.SLICES.read_text())
