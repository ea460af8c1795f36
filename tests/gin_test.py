"""Every gin combination parses, has the shapes it should, and counts right.

Nothing is allocated: parameters are traced by their shapes alone.
"""

import copy
import functools
import itertools

import gin
import jax
import pytest

from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.process import cli
from tests.paths import ROOT

GIN = ROOT / 'gin'
# As the entry points have it: files include others.
gin.add_config_file_search_path(str(GIN))


def names(folder: str) -> list[str]:
  return sorted(path.stem for path in (GIN / folder).glob('*.gin'))


# The other one takes its sizes from a base; see hugging_face/sizing_test.
MODELS = [x for x in names('models') if x != 'hugging_face']
METHODS = names('methods')
ROUTERS = names('routers')
KINDS = {
  'soft': 'SoftRouter',
  'top_k': 'TopKRouter',
  'uniform': 'UniformRouter',
  'hash': 'HashRouter',
  'sentence': 'SoftRouter',
  'shared': 'SharedRouter',
  'task': 'TaskRouter',
  'poly': 'PolyRouter',
  'smear': 'SmearRouter',
  'arrow': 'ArrowRouter',
  'spectr': 'SpectrRouter',
  'gates': 'GateRouter',
  'phatgoose': 'PhatgooseRouter',
}
# They route pairs of matrices alone.
OF_PAIRS = ('arrow', 'spectr', 'gates', 'phatgoose')
MIXTURES = ('mov', 'molora')
LARGE_MOV = ('models/t5_1_1_large', 'methods/mov')


@pytest.fixture(autouse=True)
def empty_config():
  gin.clear_config()
  yield
  gin.clear_config()


def parse(*files: str, **bindings) -> None:
  """Parses files of `gin/` and then macros, as the entry points do."""
  gin.clear_config()
  bindings = {'INITIAL_CHECKPOINT_PATH': 'somewhere', **bindings}
  gin.parse_config_files_and_bindings(
    [str(GIN / f'{file}.gin') for file in files],
    [f'{name} = {value!r}' for name, value in bindings.items()],
  )


def value(name: str):
  """The value of a macro; building what it refers to."""
  return copy.deepcopy(gin.config.parse_value(f'%{name}'))


def shapes(*files: str, **bindings):
  """Trainable and frozen parameters of a configuration, as shapes."""
  parse(*files, **bindings)
  model = EncoderDecoderModel(value('NETWORK'))
  params = model.abstract_variables()['params']
  return parameters.split(params, value('TRAINABLE'))


@functools.cache
def counts(model: str, method: str, **bindings) -> tuple[int, int]:
  """How many parameters train and how many are frozen."""
  trainable, base = shapes(f'models/{model}', f'methods/{method}', **bindings)
  return parameters.count(trainable), parameters.count(base)


BASES = {
  't5_1_1_small': 76_961_152,
  't5_1_1_base': 247_577_856,
  't5_1_1_large': 783_150_080,
  't5_1_1_xl': 2_849_757_184,
  't5_1_1_xxl': 11_135_332_352,
}


@pytest.mark.parametrize('model', BASES)
def test_public_checkpoints_have_these_sizes(model):
  trainable, base = counts(model, 'full')
  assert (trainable, base) == (BASES[model], 0)


# (IA)3; MoV per expert, vectors and router; LoRA per unit of rank; MoLoRA per
# expert and unit of rank, and its router per expert.
IA3 = (282_624, 540_672, 1_081_344)
MOV = (427_008, 795_648, 1_582_080)
LORA = (958_464, 1_867_776, 3_735_552)
MOLORA_ROUTER = (479_232, 933_888, 1_867_776)
# Percent of the base as the paper's tables can be recomputed from the shapes.
PERCENT = {
  ('ia3', ()): ('0.0361', '0.0190', '0.0097'),
  ('mov', (5,)): ('0.273', '0.140', '0.071'),
  ('mov', (10,)): ('0.545', '0.279', '0.142'),
  ('mov', (20,)): ('1.090', '0.558', '0.284'),
  ('mov', (30,)): ('1.636', '0.838', '0.426'),
  ('mov', (60,)): ('3.271', '1.675', '0.852'),
  ('lora', (4,)): ('0.490', '0.262', '0.134'),
  ('lora', (8,)): ('0.979', '0.524', '0.268'),
  ('lora', (16,)): ('1.958', '1.049', '0.537'),
  ('molora', (2, 4)): ('1.101', '0.590', '0.302'),
  ('molora', (5, 4)): ('2.754', '1.475', '0.755'),
  ('molora', (10, 4)): ('5.507', '2.949', '1.510'),
  ('molora', (15, 4)): ('8.261', '4.424', '2.264'),
}
MACROS = {
  'ia3': (),
  'mov': ('NUM_EXPERTS',),
  'lora': ('RANK',),
  'molora': ('NUM_EXPERTS', 'RANK'),
}


def expected(method: str, variant: tuple[int, ...], i: int) -> int:
  if method == 'ia3':
    return IA3[i]
  if method == 'mov':
    return variant[0] * MOV[i]
  if method == 'lora':
    return variant[0] * LORA[i]
  num_experts, rank = variant
  return num_experts * (rank * LORA[i] + MOLORA_ROUTER[i])


@pytest.mark.parametrize('method, variant', PERCENT)
@pytest.mark.parametrize('size', ['large', 'xl', 'xxl'])
def test_trainable_counts_are_the_papers(size, method, variant):
  i = ('large', 'xl', 'xxl').index(size)
  bindings = dict(zip(MACROS[method], variant, strict=True))
  trainable, base = counts(f't5_1_1_{size}', method, **bindings)
  assert trainable == expected(method, variant, i)
  assert base == BASES[f't5_1_1_{size}']
  percent = PERCENT[method, variant][i]
  digits = len(percent.split('.')[1])
  assert f'{100 * trainable / base:.{digits}f}' == percent


@pytest.mark.parametrize(
  'row, shown',
  [
    ('(IA)³', [('ia3', ())]),
    ('MoV, 10 / 30 experts', [('mov', (10,)), ('mov', (30,))]),
    ('LoRA, rank 4 / 16', [('lora', (4,)), ('lora', (16,))]),
    ('MoLoRA, rank 4, 10 experts', [('molora', (10, 4))]),
  ],
)
def test_the_page_on_composing_shows_these_percents(row, shown):
  columns = zip(*(PERCENT[name] for name in shown), strict=True)
  line = f'| {row} | {" | ".join(map(" / ".join, columns))} |'
  assert line in (ROOT / 'docs' / 'how_to' / 'compose.md').read_text()


def test_method_files_default_to_the_shipped_variants():
  large = 't5_1_1_large'
  assert counts(large, 'mov') == counts(large, 'mov', NUM_EXPERTS=30)
  assert counts(large, 'lora') == counts(large, 'lora', RANK=16)
  assert counts(large, 'molora') == counts(
    large, 'molora', NUM_EXPERTS=10, RANK=4
  )


@pytest.mark.parametrize(
  'model',
  ['t5_1_1_mini', pytest.param('t5_1_1_small', marks=pytest.mark.slow)],
)
@pytest.mark.parametrize('method', METHODS)
def test_scan_and_loop_hold_the_same_parameters(model, method):
  unrolled = []
  for scan_layers in (True, False):
    trainable, base = shapes(
      f'models/{model}', f'methods/{method}', SCAN_LAYERS=scan_layers
    )
    params = parameters.merge(trainable, base)
    leaves = parameters.flatten(
      jax.eval_shape(parameters.unstack_layers, params)
    )
    unrolled.append({path: leaf.shape for path, leaf in leaves.items()})
  assert unrolled[0] == unrolled[1]


@pytest.mark.parametrize('method', MIXTURES)
@pytest.mark.parametrize('router', ROUTERS)
def test_a_router_file_may_stand_before_or_after_the_method(method, router):
  for files in (
    (f'methods/{method}', f'routers/{router}'),
    (f'routers/{router}', f'methods/{method}'),
  ):
    kind = KINDS[router]
    if router in OF_PAIRS and method == 'mov':
      # SpectR also takes RANK from the method, which MoV does not have.
      message = 'RANK' if router == 'spectr' else f'{kind} routes pairs'
      with pytest.raises((UserError, ValueError), match=message):
        parse('models/t5_1_1_mini', *files)
        value('NETWORK')
      continue
    parse('models/t5_1_1_mini', *files)
    adapters = value('NETWORK').config.adapters
    for factory in adapters.values():
      adapter = factory(site=None, name=None, parent=None)
      assert adapter.router.__name__ == kind


@pytest.mark.parametrize('method', METHODS)
def test_a_model_after_its_method_is_an_error(method):
  with pytest.raises(ValueError, match='ADAPTERS.*REQUIRED'):
    parse(f'methods/{method}', 'models/t5_1_1_mini')


def test_a_model_without_method_is_an_error():
  with pytest.raises(ValueError, match='ADAPTERS.*REQUIRED'):
    parse('models/t5_1_1_mini')


def test_a_large_model_needs_a_checkpoint():
  files = [str(GIN / f'{f}.gin') for f in LARGE_MOV]
  with pytest.raises(ValueError, match='INITIAL_CHECKPOINT_PATH.*REQUIRED'):
    gin.parse_config_files_and_bindings(files, [])


@pytest.mark.parametrize(
  'bindings, message',
  [
    ({'NUM_EXPERTS': 0}, 'NUM_EXPERTS = 0'),
    ({'TOP_K': 99}, 'TOP_K = 99'),
    ({'ROUTER_TEMPERATURE': 0}, 'ROUTER_TEMPERATURE = 0'),
    ({'EXPERT_DROPOUT': 1.0}, 'EXPERT_DROPOUT = 1.0'),
    ({'SENTENCE': 'mean'}, "SENTENCE = 'mean'.*'inputs', 'encoded'"),
    ({'REMAT': 'some'}, "REMAT = 'some'"),
  ],
)
def test_values_out_of_range_are_user_errors(bindings, message):
  parse('models/t5_1_1_mini', 'methods/mov', 'routers/top_k', **bindings)
  with pytest.raises(UserError, match=message):
    EncoderDecoderModel(value('NETWORK')).abstract_variables()


def test_an_unknown_site_names_the_nearest(tmp_path):
  mine = tmp_path / 'mine.gin'
  mine.write_text(
    'from __gin__ import dynamic_registration\n'
    'from moe_lite import adapters\n'
    "ADAPTERS = {'keys': @adapters.IA3}\n"
  )
  parse('models/t5_1_1_mini', 'methods/ia3', mine.with_suffix(''))
  with pytest.raises(UserError, match="'keys'.*Did you mean 'key'"):
    value('NETWORK')


# What each run file configures, and what only a flag can give it.
RUNS = {
  'finetune': ('training.train', ['MODEL_DIR']),
  'few_shot': ('training.train', ['MODEL_DIR']),
  'pretrain': ('training.train', ['MODEL_DIR']),
  'pretrain_mini': ('training.train', ['MODEL_DIR']),
  'eval': ('evaluation.evaluate', ['CHECKPOINT_PATH', 'EVAL_OUTPUT_DIR']),
  'infer': ('inference.infer', ['CHECKPOINT_PATH', 'INFER_OUTPUT_DIR']),
}


def command(*files: str, flags: list[str] = ()) -> list[str]:
  """A command line with these gin files and paths for these macros."""
  return [
    'command',
    *(f'--gin_file={file}.gin' for file in files),
    *(f"--gin.{flag}='somewhere'" for flag in flags),
  ]


def test_every_run_file_is_tried():
  assert set(RUNS) == set(names('runs'))


@functools.cache
def trace(model: str, method: str) -> int:
  """Parameters of a network, traced once for all its runs."""
  network = value('NETWORK')
  variables = EncoderDecoderModel(network).abstract_variables()
  return parameters.count(variables['params'])


def configures(model, method, data, run):
  """Builds every argument of a run: network, data set, optimizer."""
  entry, flags = RUNS[run]
  given = [*flags, 'INITIAL_CHECKPOINT_PATH']
  if data in ('p3', 'rows'):
    given.append('MIXTURE_OR_TASK_NAME')
  if data == 'rows':
    given.append('ROWS_DIR')
  files = [f'models/{model}', f'methods/{method}', f'data/{data}']
  argv = command(*files, f'runs/{run}', flags=given)
  cli.configure(argv, entry, f'runs/{run}.gin')
  arguments = gin.get_bindings(entry)
  kinds = {type(argument).__name__ for argument in arguments.values()}
  assert {'EncoderDecoderModel', 'ChoiceModel'} & kinds, kinds
  assert trace(model, 'full' if run.startswith('pretrain') else method) > 0


# A fifth of all combinations of methods and data goes with each model and run,
# another one with the next. Every two files meet, and most threes.
PAIRS = list(itertools.product(METHODS, names('data')))
TURNS = {
  pair: turn for turn, pair in enumerate(itertools.product(MODELS, RUNS))
}


@pytest.mark.parametrize('run', RUNS)
@pytest.mark.parametrize('model', MODELS)
def test_combinations_configure_their_run(model, run):
  for method, data in PAIRS[TURNS[model, run] % 5 :: 5]:
    configures(model, method, data, run)


@pytest.mark.slow
@pytest.mark.parametrize('run', RUNS)
@pytest.mark.parametrize('model', MODELS)
def test_every_combination_configures_its_run(model, run):
  for method, data in PAIRS:
    configures(model, method, data, run)


@pytest.mark.parametrize(
  'path', sorted(GIN.rglob('*.gin')), ids=lambda p: str(p.relative_to(GIN))
)
def test_headers_state_the_contract(path):
  text = path.read_text(encoding='utf-8')
  header = text.split('from __gin__')[0]
  assert 'from __gin__ import dynamic_registration' in text
  for word in ('Provides:', 'Requires:', 'Often changed:'):
    assert f'# {word}' in header, f'{path} has no line "# {word}".'


@pytest.mark.parametrize('folder', ['methods', 'routers'])
def test_methods_and_routers_hold_no_sizes_and_no_paths(folder):
  for path in (GIN / folder).glob('*.gin'):
    text = path.read_text(encoding='utf-8')
    for word in ('emb_dim', 'head', 'mlp_dim', 'vocab', 'PATH', '://'):
      code = [l for l in text.splitlines() if not l.startswith('#')]
      assert not any(word in line for line in code), f'{path}: {word}'
