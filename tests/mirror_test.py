"""Tests mirror the package, and use nothing private of it."""

import ast
import pathlib

import pytest

from tests.paths import ROOT

# A module with more lines than this has a test file of its name.
SHORT = 60
# The folder of the sources to the folder of their tests.
MIRRORED = {'moe_lite': 'tests', 'tasks': 'tests/tasks'}
# The modules without one, and what tests them instead.
ELSEWHERE = {
  'moe_lite/checkpoints/library.py': 'library/command_test, assembling_test',
  'moe_lite/evaluation/composed.py': 'library/lorahub_test',
  'moe_lite/evaluation/routing_summary.py': 'evaluation/carded_test',
  'moe_lite/evaluation/routed_run.py': 'convert/collapse_test',
  'moe_lite/library/static_accuracy.py': 'library/selecting_test',
  'moe_lite/evaluation/exporting.py': 'convert/adapter_verbs_test',
  'moe_lite/library/folder.py': 'library/command_test',
  'moe_lite/library/making.py': 'library/assembling_test',
  'moe_lite/library/merges.py': 'library/assembling_test, command_test',
  'moe_lite/library/splitting.py': 'library/assembling_test',
  'moe_lite/data/caches.py': 'tasks/cached_test: every file of a cache',
  'moe_lite/inference/in_use.py': 'inference/named_adapters_test',
  'moe_lite/inference/lines.py': 'commands_test: scores and all decodes',
  'moe_lite/integrations/t5x_parts.py': 'integrations/t5x_test',
  'moe_lite/process/calling.py': 'training/finetuning_test',
  'moe_lite/process/macro_kinds.py': 'process/macros_test: every macro',
  'moe_lite/process/macros_of_models.py': 'process/macros_test',
  'moe_lite/process/macros_of_results.py': 'process/macros_test',
  'moe_lite/process/macros_of_training.py': 'process/macros_test',
  'moe_lite/checkpoints/run_items.py': 'checkpoints/run_checkpoints_test',
  'moe_lite/adapters/adapter.py': 'adapters/contract_test: every adapter',
  'moe_lite/adapters/growing.py': 'checkpoints/initial_adapters_test',
  'moe_lite/adapters/lora.py': 'adapters/contract_test, t5/golden_test',
  'moe_lite/adapters/mov.py': 'adapters/contract_test, t5/golden_test',
  'moe_lite/checkpoints/peft/leaves.py': 'checkpoints/peft/folder_test',
  'moe_lite/core/hub.py': 'checkpoints/hugging_face/hub_test',
  'moe_lite/core/memory.py': 'training/plan_test, preflight/command_test',
  'moe_lite/core/partitioning.py': 'training/mesh_test, on eight devices',
  'moe_lite/inference/predictions.py': 'commands_test: two commands in turn',
  'moe_lite/models/cached_decoder.py': 'models/decoding_test',
  'moe_lite/models/forward.py': 't5/network_test, t5/golden_test',
  'moe_lite/models/layout.py': 'training/plan_test, training/train_step_test',
  'moe_lite/models/model.py': 't5/golden_test, models/router_losses_test',
  'moe_lite/preflight/slices.py': 'recipes_test: the table and its runs',
  'moe_lite/process/distributed.py': 'process/processes_test, many processes',
  'moe_lite/process/environment.py': 'training/loop_test: run.json',
  'moe_lite/process/gin_macros.py': 'process/cli_test: mistakes in macros',
  'moe_lite/process/interrupts.py': 'training/loop_test: Ctrl-C and SIGTERM',
  'moe_lite/routing/context.py': 't5/positions_test: what routers are told',
  'moe_lite/routing/router.py': 'routing/learned_test, adapters/contract_test',
  'moe_lite/routing/shared.py': 't5/positions_test: shared decisions',
  'moe_lite/routing/statistics.py': (
    'models/router_losses_test, inference/text_model_test'
  ),
  'moe_lite/routing_report/command.py': 'routing_report/writing_test',
  'moe_lite/t5/biases.py': 't5/golden_test, t5/network_test',
  'moe_lite/t5/contract/observing.py': 't5/contract/promises_test',
  'moe_lite/t5/config.py': 'gin_test: values out of range; t5/network_test',
  'moe_lite/t5/layers.py': 't5/golden_test, t5/network_test',
  'moe_lite/t5/method.py': 'checkpoints/description_test, training/loop_test',
  'moe_lite/t5/stacks.py': 't5/network_test: loop, scan and remat',
  'moe_lite/training/recorder.py': 'training/loop_test: lines and warnings',
  'moe_lite/training/run_folder.py': 'training/loop_test, earlier_test',
  'moe_lite/training/beginning.py': 'training/loop_test: resuming',
  'moe_lite/training/starting.py': 'training/loop_test: resuming',
  'tasks/mini/held_out_sets.py': 'tasks/mini/suite_test',
  'tasks/mini/patterns.py': 'tasks/mini/suite_test',
  'tasks/mini/prompts.py': 'tasks/mini/suite_test',
  'tasks/mini/rows.py': 'tasks/mini/suite_test',
  'tasks/mini/text.py': 'tasks/mini/suite_test',
  'tasks/mini/training_sets.py': 'tasks/mini/suite_test',
  'tasks/mini/world.py': 'tasks/mini/suite_test',
}


def modules():
  """Every module, with the test file of its name, relative to the checkout."""
  for folder, tests in MIRRORED.items():
    for path in sorted((ROOT / folder).rglob('*.py')):
      if path.name not in ('__init__.py', '__main__.py'):
        place = path.relative_to(ROOT / folder).with_name(
          f'{path.stem}_test.py'
        )
        yield path.relative_to(ROOT), pathlib.Path(tests) / place


def test_long_modules_have_a_test_file_of_their_name():
  for path, test in modules():
    lines = len((ROOT / path).read_text(encoding='utf-8').splitlines())
    if lines > SHORT and str(path) not in ELSEWHERE:
      assert (ROOT / test).exists(), (
        f'{path} has {lines} lines and no {test}: write it, or name in '
        'ELSEWHERE what tests it.'
      )


def test_exceptions_are_needed():
  known = {str(path): test for path, test in modules()}
  for path in ELSEWHERE:
    assert path in known, f'ELSEWHERE names {path}, which is gone.'
    assert not (ROOT / known[path]).exists(), f'{path} has a test file now.'


def imported_modules(tree):
  """Names that a test file gives to modules of the package."""
  names = set()
  for node in ast.walk(tree):
    if isinstance(node, ast.ImportFrom) and node.module:
      if node.module.split('.')[0] in MIRRORED:
        for alias in node.names:
          place = ROOT / node.module.replace('.', '/') / alias.name
          if place.is_dir() or place.with_suffix('.py').exists():
            names.add(alias.asname or alias.name)
  return names


def is_private(name):
  return name.startswith('_') and not name.startswith('__')


@pytest.mark.parametrize(
  'path',
  sorted((ROOT / 'tests').rglob('*.py')),
  ids=lambda path: str(path.relative_to(ROOT / 'tests')),
)
def test_nothing_private_of_a_module_is_used(path):
  tree = ast.parse(path.read_text(encoding='utf-8'))
  names = imported_modules(tree)
  for node in ast.walk(tree):
    where = f'{path}:{getattr(node, "lineno", 0)}'
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
      is_ours = node.value.id in names
      assert not (is_ours and is_private(node.attr)), (
        f'{where} uses {node.value.id}.{node.attr}, which is private.'
      )
    if not isinstance(node, ast.Call):
      continue
    # monkeypatch.setattr(module, '_name', ...), and 'moe_lite.module._name'.
    words = [x.value for x in node.args if isinstance(x, ast.Constant)]
    texts = [word for word in words if isinstance(word, str)]
    owner = node.args[0] if node.args else None
    if isinstance(owner, ast.Name) and owner.id in names:
      assert not any(map(is_private, texts)), f'{where} patches {texts}.'
    for text in texts:
      if text.startswith(tuple(f'{folder}.' for folder in MIRRORED)):
        assert not is_private(text.rpartition('.')[2]), f'{where} names {text}.'
