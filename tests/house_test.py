"""The plan of the package, held by parsing its sources.

CONTRIBUTING.md shows it as a picture.
"""

import ast
import functools
import pathlib
import statistics
import subprocess
import sys

import pytest

from tests.paths import ROOT

PACKAGE = ROOT / 'moe_lite'

# The folders, from the ground up: each may import those of the lines above its
# own, and nothing below or beside it.
FLOORS = (
  ('core',),
  ('routing', 'process'),
  ('adapters', 'data'),
  ('t5',),
  ('models', 'checkpoints'),
  ('training', 'inference', 'integrations'),
  ('evaluation',),
  (
    *('train', 'eval', 'infer', 'report'),
    *('preflight', 'routing_report', 'sweep', 'convert', 'library', 't5x'),
  ),
)
FLOOR = {name: i for i, names in enumerate(FLOORS) for name in names}
COMMANDS = FLOORS[-1]
MOST_NAMES = 24
LONGEST_CHAIN = 12
MEDIAN, NINETIETH, MOST_LINES = 150, 300, 400
MOST_SUPPRESSIONS = 0.5  # A thousand lines.

# What needs neither TensorFlow nor SeqIO.
NO_TENSORFLOW = (
  *('core', 'routing', 'adapters', 't5', 'models', 'checkpoints'),
  *('inference/scoring.py', 'inference/generation.py', 'inference/loading.py'),
  *('inference/padding.py', 'inference/source.py', 'inference/text_model.py'),
  *('inference/answers.py', 'inference/ranking.py', 'inference/trained.py'),
  *('inference/adapter_info.py', 'inference/generation_options.py'),
  *('inference/in_use.py', 'inference/named_adapters.py'),
  *('inference/facts.py', 'inference/heatmaps.py', 'inference/texts.py'),
  *('inference/token_routing.py', 'inference/vocabulary.py'),
  *('training/optimizers.py', 'training/plan.py', 'training/train_step.py'),
  *('training/routing_metrics.py', 'training/run_folder.py'),
  *('evaluation/comparison.py', 'evaluation/plots.py', 'evaluation/report.py'),
  *('evaluation/results.py', 'process/distributed.py', 'process/endings.py'),
)
TENSORFLOW = {'seqio', 'tensorflow', 'tensorflow_datasets', 'tensorflow_text'}


def sources(folder: pathlib.Path) -> list[pathlib.Path]:
  return sorted(folder.rglob('*.py')) if folder.is_dir() else [folder]


@functools.cache
def imports(path: pathlib.Path) -> dict[str, int]:
  """Full names of all that a file imports, also in functions, to its line."""
  names: dict[str, int] = {}
  for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
    if isinstance(node, ast.Import):
      names |= {alias.name: node.lineno for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, f'{path}: relative imports hide the picture.'
      for alias in node.names:
        names[f'{node.module}.{alias.name}'] = node.lineno
  return names


def at_the_top(path: pathlib.Path) -> set[str]:
  """The names that are imported with the file, and not in its functions."""
  found = set()
  for node in ast.parse(path.read_text(encoding='utf-8')).body:
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      found |= {f'{node.module}.{alias.name}' for alias in node.names}
  return found


def module(path: pathlib.Path) -> str:
  """'moe_lite.core.errors', and of an `__init__` its folder."""
  parts = path.relative_to(ROOT).with_suffix('').parts
  return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


MODULES = {
  module(path): path
  for folder in (PACKAGE, ROOT / 'tasks')
  for path in sources(folder)
}


def nearest_module(name: str) -> str | None:
  """The module that a name is, or is defined in; None for other packages."""
  while name and name not in MODULES:
    name = name.rpartition('.')[0]
  return name or None


def folder_of(name: str) -> str:
  """The folder, or the command, that a module of the package is in."""
  return name.split('.')[1] if '.' in name else '__init__'


def graph(names_of) -> dict[str, set[str]]:
  """Module to the modules that it imports, by `names_of(path)`."""
  return {
    name: {found for x in names_of(path) if (found := nearest_module(x))}
    - {name}
    for name, path in MODULES.items()
  }


@pytest.mark.parametrize(
  'path', sources(PACKAGE), ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_a_folder_imports_what_lies_below_it(path):
  own = folder_of(module(path))
  # `moe_lite.load`, when it is asked for, and the list of commands.
  if own in ('__init__', '__main__'):
    return
  for name, line in imports(path).items():
    if not name.startswith('moe_lite.'):
      continue
    other = folder_of(nearest_module(name) or name)
    where = f'{path.relative_to(ROOT)}:{line} imports {name}'
    assert other in FLOOR, f'{where}, which is on no floor of FLOORS.'
    assert other == own or FLOOR[other] < FLOOR[own], (
      f'{where}: {own}/ is on floor {FLOOR[own] + 1} and may not import '
      f'{other}/, on floor {FLOOR[other] + 1}.'
    )


def test_there_are_12_concepts_and_10_commands():
  names = {
    path.stem if path.suffix == '.py' else path.name
    for path in PACKAGE.iterdir()
    if path.name != '__pycache__'
  }
  # `__main__` lists the commands.
  names -= {'__main__'}
  assert names - {'__init__', 'py.typed'} == set(FLOOR)
  assert len(names) <= MOST_NAMES and len(FLOORS) <= 8
  for name in set(FLOOR) - set(COMMANDS):
    face = PACKAGE / name / '__init__.py'
    text = ast.get_docstring(ast.parse(face.read_text()))
    assert text and 'belongs here if' in ' '.join(text.split()), (
      f'{face} does not say in a sentence what belongs in its folder.'
    )


def test_no_module_imports_itself_by_way_of_others():
  everything = graph(imports)
  state: dict[str, bool] = {}

  def visit(name: str, way: tuple[str, ...]) -> None:
    if name in way:
      circle = ' -> '.join((*way[way.index(name) :], name))
      raise AssertionError(f'A circle of imports: {circle}.')
    if not state.get(name):
      for other in sorted(everything[name]):
        visit(other, (*way, name))
      state[name] = True

  for name in everything:
    visit(name, ())


def test_chains_of_imports_are_short():
  tops = graph(at_the_top)

  @functools.cache
  def chain(name: str) -> tuple[str, ...]:
    below = [chain(other) for other in sorted(tops[name])]
    return (name, *max(below, key=len, default=()))

  longest = max((chain(name) for name in tops), key=len)
  assert len(longest) <= LONGEST_CHAIN, ' -> '.join(longest)


def test_files_are_short():
  lines = {
    path: len(path.read_text(encoding='utf-8').splitlines())
    for folder in (PACKAGE, ROOT / 'tasks', ROOT / 'tests', ROOT / 'launch')
    for path in sources(folder)
  }
  for path, count in lines.items():
    assert count <= MOST_LINES, (
      f'{path} has {count} lines; split it by concern.'
    )
  ours = [n for path, n in lines.items() if 'tests' not in path.parts]
  assert statistics.median(ours) <= MEDIAN
  assert statistics.quantiles(ours, n=10)[-1] <= NINETIETH


def test_checkers_are_seldom_told_to_be_quiet():
  lines = suppressions = 0
  for folder in (PACKAGE, ROOT / 'tasks', ROOT / 'tests', ROOT / 'launch'):
    for path in sources(folder):
      text = path.read_text(encoding='utf-8')
      lines += text.count('\n')
      marks = ('# no' + 'qa', '# type: ' + 'ignore', '# py' + 'right')
      suppressions += sum(text.count(mark) for mark in marks)
  assert suppressions <= MOST_SUPPRESSIONS * lines / 1000, suppressions


@pytest.mark.parametrize('name', NO_TENSORFLOW)
def test_the_model_needs_no_tensorflow(name):
  for file in sources(PACKAGE / name):
    packages = {name.split('.')[0] for name in imports(file)}
    assert not packages & TENSORFLOW, f'{file} imports TensorFlow or SeqIO.'


def test_tasks_know_no_model():
  commands = {'cache.py', 'fetch_p3.py', 'workers.py'}
  for path in sources(ROOT / 'tasks'):
    for name, line in imports(path).items():
      if not name.startswith('moe_lite.'):
        continue
      allowed = {'core', 'data'}
      if path.name in commands:  # How commands begin, report and end.
        allowed |= {'process'}
      if path.name == 'rank_classification.py':
        allowed |= {'inference'}
      assert folder_of(name) in allowed, f'{path}:{line} imports {name}.'


def test_only_the_integration_imports_t5x():
  allowed = PACKAGE / 'integrations' / 't5x_parts.py'
  for path in MODULES.values():
    if path != allowed:
      packages = {name.split('.')[0] for name in imports(path)}
      assert 't5x' not in packages, f'{path} imports t5x; only {allowed} may.'


def test_what_is_handed_on_for_torch_stands_alone():
  file = PACKAGE / 'checkpoints' / 'torch_adapters.py'
  packages = {name.split('.')[0] for name in imports(file)}
  foreign = packages - set(sys.stdlib_module_names)
  assert foreign == {'torch', 'safetensors'}


def test_nothing_shadows_gin_config():
  assert not (ROOT / 'gin' / '__init__.py').exists()
  assert not (ROOT / 'tests' / 'gin').exists()


def test_importing_the_model_loads_no_tensorflow():
  code = (
    'import importlib, sys, time\n'
    'heavy = {"tensorflow", "seqio", "t5x", "torch", "matplotlib"}\n'
    'for name in sys.argv[1:]:\n'
    '  start = time.perf_counter()\n'
    '  importlib.import_module(f"moe_lite.{name}")\n'
    '  seconds = time.perf_counter() - start\n'
    '  print(name, f"{seconds:.1f} s", *(heavy & {*sys.modules}))\n'
  )
  names = ('core.parameters', 'adapters', 't5', 'models', 'inference.loading')
  done = subprocess.run(
    [sys.executable, '-c', code, *names],
    capture_output=True,
    text=True,
    check=True,
  )
  print(done.stdout)
  for line in done.stdout.splitlines():
    name, _, _, *heavy = line.split()
    assert not heavy, f'import moe_lite.{name} loaded {heavy}.'
