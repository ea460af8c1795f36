"""The table of macros holds all of them, and refuses what they may not be."""

import re

import pytest

from moe_lite.core.errors import UserError
from moe_lite.process import cli, gin_macros, gin_paths, macros
from moe_lite.process.macro_kinds import Function
from moe_lite.sweep.command import ENTRIES
from tests.paths import ROOT

ASSIGNED = re.compile(r'^([A-Z][A-Z0-9_]*) =', re.M)
INCLUDED = re.compile(r"^include '(.*)'", re.M)
RUNS = {
  'runs/finetune.gin': 'training.train',
  'runs/few_shot.gin': 'training.train',
  'runs/eval.gin': 'evaluation.evaluate',
  'runs/infer.gin': 'inference.infer',
}
GRIDS = {
  'ablations/rate.gin': [],
  'ablations/temperature.gin': ["FIRST_STAGE='x'"],
  'ablations/library.gin': ["EXPERTS='x'", "GATES='x'"],
}
METHODS = (
  ('methods/molora.gin', 'routers/top_k.gin'),
  ('methods/mov.gin', 'routers/hash.gin'),
  ('methods/mov.gin', 'routers/shared.gin'),
  ('methods/mov.gin', 'routers/poly.gin'),
  ('methods/molora.gin', 'routers/gates.gin'),
)
DATA = {
  'data/mini.gin': [],
  'data/p3.gin': ["MIXTURE_OR_TASK_NAME='x'"],
  'data/rows.gin': ["ROWS_DIR='x'", "MIXTURE_OR_TASK_NAME='x'"],
}
GIVEN = (
  "MODEL_DIR='x'",
  "CHECKPOINT_PATH='x'",
  "EVAL_OUTPUT_DIR='x'",
  "INFER_OUTPUT_DIR='x'",
)


def assigned(file):
  """The macros that a gin file assigns, with those of the files it includes."""
  text = (gin_paths.folder() / file).read_text()
  return set(ASSIGNED.findall(text)).union(
    *map(assigned, INCLUDED.findall(text))
  )


def configure(run, *bindings, method=METHODS[0], data='data/mini.gin'):
  if run in GRIDS:
    argv = ['x', f'--gin_file={run}']
    argv += [f'--gin.{binding}' for binding in (*GRIDS[run], *bindings)]
    return cli.configure(argv, ENTRIES, run)
  files = ('models/t5_1_1_mini.gin', *method, data, run)
  argv = ['x', *(f'--gin_file={file}' for file in files)]
  known = assigned(run)
  given = [b for b in GIVEN if b.partition('=')[0] in known]
  argv += [f'--gin.{binding}' for binding in (*given, *bindings)]
  return cli.configure(argv, RUNS[run], run)


def places():
  """A configuration for each macro that a run reads."""
  found = {}
  for grid in GRIDS:
    configure(grid)
    for name in gin_macros.names() & macros.BY_NAME.keys():
      found[name] = grid, METHODS[0], 'data/mini.gin', []
  for run in RUNS:
    for method in METHODS:
      for data, more in DATA.items():
        configure(run, *more, method=method, data=data)
        for name in gin_macros.names() & macros.BY_NAME.keys():
          found[name] = run, method, data, more
  return found


def test_every_macro_of_the_gin_files_is_in_the_table():
  files = gin_paths.folder().rglob('*.gin')
  assigned = {x for file in files for x in ASSIGNED.findall(file.read_text())}
  assert assigned == macros.BY_NAME.keys()


def test_what_is_wrong_is_not_allowed():
  for macro in macros.TABLE:
    assert len(macro.kind.wrong) >= 3, macro.name


def test_every_wrong_value_of_every_macro_is_one_message():
  tried = 0
  found = places()
  # T5X's own macros need T5X.
  assert macros.BY_NAME.keys() - found.keys() == {
    *('EVAL_STEPS', 'VALIDATION_MIXTURE'),
  }
  for name, (run, method, data, more) in found.items():
    for wrong in macros.BY_NAME[name].kind.wrong:
      with pytest.raises(UserError, match=f'^{name} = .* must be ') as error:
        configure(run, *more, f'{name}={wrong}', method=method, data=data)
      assert len(str(error.value).splitlines()) == 1, (name, wrong)
      tried += 1
  assert tried > 300


def test_all_mistakes_are_said_at_once():
  with pytest.raises(UserError) as error:
    configure('runs/finetune.gin', "SEED='a'", 'PACKING=3', 'DROPOUT_RATE=2.0')
  lines = str(error.value).splitlines()
  assert [line.split()[0] for line in lines] == [
    'DROPOUT_RATE',
    'PACKING',
    'SEED',
  ]


@pytest.mark.parametrize('run', RUNS)
def test_functions_that_the_table_names_are_taken(run):
  known = assigned(run)
  for macro in macros.TABLE:
    if macro.name in known and isinstance(macro.kind, Function):
      brackets = '()' if macro.kind.is_called else ''
      for name in macro.kind.names:
        configure(run, f'{macro.name}=@{name}{brackets}')


def test_a_macro_may_stand_for_another():
  configure('runs/finetune.gin', 'LOG_PERIOD=%SAVE_PERIOD', 'KEEP=None')


def test_gin_readme_has_the_table():
  assert macros.markdown() in (ROOT / 'gin' / 'README.md').read_text()
