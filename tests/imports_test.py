"""The import picture of CONTRIBUTING.md, held by parsing the sources."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / 'moe_lite'

# A part is a module or folder directly under moe_lite. These may be imported
# by every part, and import nothing else of the package.
FOUNDATION = {'errors', 'types'}

# What each part of the model may import, besides itself and the foundation.
MODEL = {
  'partitioning': set(),
  'matmuls': set(),
  'parameters': set(),
  'quantization': set(),
  'losses': set(),
  'decoding': set(),
  'router_losses': set(),
  'routing': {'partitioning', 'matmuls'},
  'adapters': {'partitioning', 'matmuls', 'routing'},
  't5': {'partitioning', 'quantization', 'routing', 'adapters'},
  'models': {
    'partitioning',
    'routing',
    't5',
    'losses',
    'router_losses',
    'decoding',
  },
}
# Of what the loops are made: they may import the model and one another.
LOOP = {
  'batches',
  'checkpoints',
  'collapse',
  'comparison',
  'data',
  'distributed',
  'endings',
  'generation',
  'gin_macros',
  'gin_paths',
  'hub',
  'interrupts',
  'layout',
  'loaded',
  'memory',
  'meter',
  'networks',
  'next_command',
  'optimizers',
  'partial_results',
  'plan',
  'plots',
  'progress',
  'results',
  'routing_metrics',
  'routing_usage',
  'run_folder',
  'scoring',
  'shapes',
  'text_model',
  'token_routing',
  'train_step',
  'vocabulary',
}
# The loops, and what a notebook loads, which may import all of that, and not
# one another.
LOOPS = {'training', 'evaluation', 'inference', 'pretrained'}
ENTRY_POINTS = {
  'cli',
  'preflight',
  'train',
  'eval',
  'infer',
  'convert',
  'conversions',
  'report',
  'routing_page',
  'routing_report',
  'sweep',
  'sweeps',
}

MAY_IMPORT = {
  **dict.fromkeys(FOUNDATION, set()),
  '__init__': {'pretrained'},  # When it is asked for.
  **MODEL,
  **dict.fromkeys(LOOP | LOOPS, LOOP | set(MODEL)),
  **dict.fromkeys(ENTRY_POINTS, ENTRY_POINTS | LOOPS | LOOP | set(MODEL)),
  'integrations': {
    'models',
    'parameters',
    'partitioning',
    'checkpoints',
    'routing',
    'router_losses',
  },
}

# Neither TensorFlow nor SeqIO is needed by the model, and by these.
NO_TENSORFLOW = {
  *FOUNDATION,
  *MODEL,
  'checkpoints',
  'collapse',
  'comparison',
  'distributed',
  'endings',
  'generation',
  'hub',
  'layout',
  'loaded',
  'memory',
  'networks',
  'optimizers',
  'plan',
  'plots',
  'pretrained',
  'results',
  'routing_metrics',
  'run_folder',
  'scoring',
  'shapes',
  'text_model',
  'token_routing',
  'train_step',
  'vocabulary',
}
TENSORFLOW = {'seqio', 'tensorflow', 'tensorflow_datasets', 'tensorflow_text'}


def sources(folder: pathlib.Path) -> list[pathlib.Path]:
  return sorted(folder.rglob('*.py'))


def imports(path: pathlib.Path) -> set[str]:
  """Full names of every module that a file imports, also inside functions."""
  names = set()
  for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, f'{path}: relative imports hide the picture.'
      names |= {f'{node.module}.{alias.name}' for alias in node.names}
  return names


def part(path: pathlib.Path) -> str:
  """The part that a file of the package belongs to: its name in MAY_IMPORT."""
  return path.relative_to(PACKAGE).parts[0].removesuffix('.py')


def parts_imported(path: pathlib.Path) -> set[str]:
  """Parts of the package that a file imports."""
  names = (name.split('.') for name in imports(path))
  return {name[1] for name in names if name[0] == 'moe_lite' and len(name) > 1}


@pytest.mark.parametrize(
  'path', sources(PACKAGE), ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_the_package_imports_along_the_arrows(path):
  importer = part(path)
  imported = parts_imported(path) - FOUNDATION - {importer, '__version__'}
  assert importer in MAY_IMPORT, (
    f'moe_lite/{importer} is not in the import picture: add it to MAY_IMPORT '
    'here and to the picture in CONTRIBUTING.md.'
  )
  beyond = imported - MAY_IMPORT[importer]
  assert not beyond, f'{importer} must not import {sorted(beyond)}.'


@pytest.mark.parametrize('name', sorted(NO_TENSORFLOW))
def test_the_model_needs_no_tensorflow(name):
  path = PACKAGE / name
  files = sources(path) if path.is_dir() else [path.with_suffix('.py')]
  assert files
  for file in files:
    top_level = {module.split('.')[0] for module in imports(file)}
    assert not top_level & TENSORFLOW, f'{file} imports TensorFlow or SeqIO.'


def test_tasks_know_no_model():
  commands = {'cache.py', 'fetch_p3.py', 'workers.py'}
  for path in sources(ROOT / 'tasks'):
    allowed = FOUNDATION | {'scoring', 'shapes'}
    if path.name in commands:  # How commands begin, report and end.
      allowed |= {'cli', 'progress'}
    if path.name == 'p3_hub.py':
      allowed |= {'hub'}
    assert not parts_imported(path) - allowed, path


def test_only_the_integration_imports_t5x():
  allowed = PACKAGE / 'integrations' / 't5x.py'
  for path in [*sources(PACKAGE), *sources(ROOT / 'tasks')]:
    if path != allowed:
      top_level = {module.split('.')[0] for module in imports(path)}
      assert 't5x' not in top_level, f'{path} imports t5x; only {allowed} may.'


def test_what_is_handed_on_for_torch_stands_alone():
  file = PACKAGE / 'integrations' / 'torch_adapters.py'
  top_level = {module.split('.')[0] for module in imports(file)}
  foreign = top_level - set(sys.stdlib_module_names)
  assert foreign == {'torch', 'safetensors'}


def test_files_are_short():
  folders = [PACKAGE, ROOT / 'tasks', ROOT / 'tests', ROOT / 'launch']
  for path in [p for folder in folders for p in sources(folder)]:
    lines = len(path.read_text(encoding='utf-8').splitlines())
    assert lines <= 500, f'{path} has {lines} lines; split it by concern.'


def test_nothing_shadows_gin_config():
  assert not (ROOT / 'gin' / '__init__.py').exists()
  assert not (ROOT / 'tests' / 'gin').exists()


@pytest.mark.parametrize('module', ['t5', 'models', 'adapters', 'parameters'])
def test_importing_the_model_loads_no_tensorflow(module):
  code = (
    'import sys, time; start = time.perf_counter()\n'
    f'import moe_lite.{module}\n'
    'print(time.perf_counter() - start)\n'
    'heavy = ("tensorflow", "seqio", "t5x", "torch", "matplotlib")\n'
    'print(*(name for name in heavy if name in sys.modules))'
  )
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  seconds, heavy = done.stdout.split('\n')[:2]
  print(f'import moe_lite.{module}: {float(seconds):.1f} s')
  assert not heavy, f'import moe_lite.{module} loaded {heavy}.'
