"""Libraries under T5X: they train and are measured as in our loop."""

import dataclasses
import functools
import json
import pathlib

import jax
import numpy as np
import pytest

from moe_lite import adapters
from moe_lite.checkpoints import exported
from tests import tiny_export
from tests.integrations.t5x_commands import (
  FEW,
  command,
  losses,
  needs_t5x,
  train,
)
from tests.library.experts import run

NAMES = ('mini_kinds', 'mini_odd')
SITES = ('query', 'key', 'value', 'out', 'wi_0', 'wo')
LORA = functools.partial(adapters.LoRA, rank=2, alpha=2.0)
SIZES = ('--gin.NUM_EXPERTS=2', '--gin.RANK=2', '--gin.ALPHA=2.0')
STEPS = ('--gin.TRAIN_STEPS=3', '--gin.LOG_PERIOD=1')
BASE = ("--gin.INITIAL_CHECKPOINT_PATH='mini'", "--gin.BASE_DTYPE='float32'")
# A task of the second data set, which has the second expert.
RANKED, GENERATED = 'mini_odd_odd_score_eval', 'mini_odd_odd'
pytestmark = [
  pytest.mark.filterwarnings('ignore'),
  pytest.mark.t5x,
  needs_t5x,
]


@dataclasses.dataclass(frozen=True)
class Runs:
  """A mixture of a library, trained by both loops.

  Attributes:
    router: the name of its router.
    flags: those of the mixture.
    theirs: the folder of the run under T5X.
    ours: that of our loop.
  """

  router: str
  flags: tuple[str, ...]
  theirs: pathlib.Path
  ours: pathlib.Path

  def files(self, *others):
    return (
      *('models/t5_1_1_mini', 'methods/molora', f'routers/{self.router}'),
      *others,
    )

  def evaluate(self, module, output, last, task=RANKED, code=0):
    """Measures the run under T5X; returns what the command printed."""
    return command(
      module,
      f'--gin.EVAL_OUTPUT_DIR={str(output)!r}',
      f'--gin.CHECKPOINT_PATH={str(self.theirs / "checkpoint_3")!r}',
      f'--gin.MIXTURE_OR_TASK_NAME={task!r}',
      *self.flags,
      files=self.files('data/mini_eval', last),
      code=code,
    )

  def generate(self, module, output, last, *flags):
    command(
      module,
      f'--gin.INFER_OUTPUT_DIR={str(output)!r}',
      f'--gin.CHECKPOINT_PATH={str(self.theirs / "checkpoint_3")!r}',
      f'--gin.MIXTURE_OR_TASK_NAME={GENERATED!r}',
      *(*self.flags, *flags),
      files=self.files('data/mini_eval', last),
    )


@pytest.fixture(scope='module')
def library(tmp_path_factory):
  """Two experts on the shipped base, each a little away from it."""
  folder = tmp_path_factory.mktemp('library')
  sites = dict.fromkeys(SITES, LORA)
  for seed, name in enumerate(NAMES):
    expert = str(folder / name)
    drawn = tiny_export.write(f'{expert}_drawn', sites=sites, seed=seed)
    tree, said = exported.load(drawn)
    tree = jax.tree.map(lambda leaf: 0.2 * (leaf - 0.7), tree)
    exported.save(expert, tree, said, {}, text=said.text)
    assert run('add', folder / 'library', name, expert) == 0
  return folder / 'library'


@pytest.fixture(scope='module', params=['task', 'arrow'])
def runs(request, library, tmp_path_factory):
  """Three steps from the library itself, or from what is assembled of it."""
  folder = tmp_path_factory.mktemp(request.param)
  source, flags = library, (*SIZES, *BASE)
  begin = (*STEPS, f'--gin.MIXTURE_OR_TASK_NAME={"+".join(NAMES)!r}')
  if request.param == 'task':
    begin += ("--gin.TASK_IDS='dataset'",)
  else:
    source, flags = folder / 'assembled', (*flags, '--gin.TOP_K=1')
    argv = ('--top_k=1', f'--router={request.param}', f'--to={source}')
    assert run('assemble', library, *argv) == 0
  begin += (f'--gin.INITIAL_ADAPTERS={str(source)!r}',)
  made = Runs(request.param, flags, folder / 'theirs', folder / 'ours')
  routers = (f'routers/{made.router}',)
  train(made.theirs, 'mini', 'molora', *flags, *begin, routers=routers)
  command(
    'moe_lite.train',
    f'--gin.MODEL_DIR={str(made.ours)!r}',
    *(*FEW, *flags, *begin),
    files=made.files('data/mini', 'runs/finetune'),
  )
  return made


def lines(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


def test_it_trains_as_in_our_loop(runs):
  found = losses(runs.theirs)
  here = {
    line['step']: line['normalized_loss']
    for line in lines(runs.ours / 'metrics.jsonl')
  }
  assert list(here) == sorted(found) == [1, 2, 3]
  # The first loss is that of the library.
  assert found[1] == pytest.approx(here[1], rel=1e-5)
  wanted = [here[step] for step in (2, 3)]
  np.testing.assert_allclose([found[2], found[3]], wanted, rtol=1e-4)
  assert found[3] != pytest.approx(found[1], rel=1e-3)


def test_choices_have_the_scores_of_our_evaluation(runs, tmp_path):
  theirs, ours = tmp_path / 'theirs', tmp_path / 'ours'
  runs.evaluate('t5x.eval', theirs, 't5x/eval')
  runs.evaluate('moe_lite.eval', ours, 'runs/eval')
  (path,) = theirs.rglob(f'{RANKED}-000003.jsonl')
  found = np.array([x['score'] for x in lines(path)])
  wanted = np.concatenate(
    [x['scores'] for x in lines(ours / 'predictions.jsonl')]
  )
  assert len(wanted) > 1000
  np.testing.assert_allclose(found.ravel(), wanted, rtol=1e-4, atol=1e-4)
  (path,) = theirs.rglob(f'{RANKED}-metrics.jsonl')
  result = json.loads((ours / 'results.json').read_text())['tasks'][0]
  assert lines(path)[0]['accuracy'] == pytest.approx(result['value'])


def test_text_is_that_of_our_inference(runs, tmp_path):
  if runs.router != 'task':
    pytest.skip('Other routers read nothing that T5X does not name.')
  theirs, ours = tmp_path / 'theirs', tmp_path / 'ours'
  runs.generate('t5x.infer', theirs, 't5x/infer')
  # T5X searches with one beam, which may end where greedy decoding goes on.
  beam = '--gin.DECODER=@decoding.beam_search'
  runs.generate('moe_lite.infer', ours, 'runs/infer', beam)
  path = theirs / f'{GENERATED}-predict.jsonl-00000-of-00001'
  found = [x['prediction'] for x in lines(path)]
  wanted = [x['prediction'] for x in lines(ours / 'predictions.jsonl')]
  assert len(found) == len(wanted) > 500
  # Two tokens may be alike up to rounding.
  same = np.mean([a == b for a, b in zip(found, wanted, strict=True)])
  assert same > 0.99


def test_what_has_no_expert_is_one_message(runs, tmp_path):
  if runs.router != 'task':
    pytest.skip('Only task routing has no expert for other data sets.')
  printed = runs.evaluate(
    'moe_lite.t5x eval',
    tmp_path / 'a',
    't5x/eval',
    task='mini_who_blank_score_eval',
    code=2,
  )
  assert 'which has no number' in printed and 'Traceback' not in printed
  printed = train(
    *(tmp_path / 'b', 'mini', 'molora', *runs.flags, *STEPS),
    "--gin.TASK_IDS='dataset'",
    "--gin.MIXTURE_OR_TASK_NAME='mini_odd+mini_uses'",
    f'--gin.INITIAL_ADAPTERS={str(runs.theirs / "checkpoint_3")!r}',
    routers=('routers/task',),
    module='moe_lite.t5x train',
    code=2,
  )
  assert 'has experts for mini_kinds, mini_odd' in printed
  assert 'Traceback' not in printed
