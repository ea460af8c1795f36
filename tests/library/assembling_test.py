"""Assembled and split mixtures do what their experts do."""

import numpy as np
import pytest

import moe_lite
from moe_lite.checkpoints import exported, library, safetensors_files
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from tests.library import experts
from tests.library.experts import NAMES, run

TEXTS = ['Is a robin a bird?', 'Who has the key?']
CHOICES = ['yes', 'no']


@pytest.fixture(scope='module', params=['lora', 'ia3'])
def kept(request, tmp_path_factory):
  folder = tmp_path_factory.mktemp(request.param)
  sites = {'lora': experts.LORA, 'ia3': experts.IA3}[request.param]
  return folder, *experts.write(folder, sites)


def scores(base, path):
  model = moe_lite.load(base, path, vocabulary=Bytes())
  return np.array(model.score(TEXTS, CHOICES))


class Bytes:
  """Texts as the bytes that they are."""

  def encode(self, text):
    return [3 + x for x in text.encode()]

  def decode(self, ids):
    return bytes(x - 3 for x in ids if x > 2).decode()


def test_split_then_assembled_is_the_mixture_bit_for_bit(kept, tmp_path):
  _, _, path = kept
  first, second = tmp_path / 'first', tmp_path / 'second'
  assert run('assemble', path, f'--to={first}', '--router=task') == 0
  assert run('split', first, f'--to={tmp_path / "again"}') == 0
  assert list(library.index(str(tmp_path / 'again'))) == list(NAMES)
  argv = ('assemble', tmp_path / 'again', f'--to={second}', '--router=task')
  assert run(*argv) == 0
  names = exported.WEIGHTS
  assert (first / names).read_bytes() == (second / names).read_bytes()
  # And each expert is the one that it was made of.
  for name in NAMES:
    one, other = (
      safetensors_files.read(f'{x}/{library.EXPERTS}/{name}/{names}')
      for x in (path, tmp_path / 'again')
    )
    assert one.keys() == other.keys()
    for leaf in one:
      np.testing.assert_array_equal(one[leaf], other[leaf])


def test_uniform_is_the_mean_of_the_experts(kept, tmp_path):
  _, base, path = kept
  mixture, mean = tmp_path / 'mixture', tmp_path / 'mean'
  assert run('assemble', path, f'--to={mixture}', '--router=uniform') == 0
  # The mean of pairs is exact at the rank of all experts together.
  rank = ('--rank=6',) if 'lora' in path else ()
  assert run('merge', path, f'--to={mean}', '--method=mean', *rank) == 0
  np.testing.assert_allclose(
    scores(base, mixture), scores(base, mean), rtol=1e-4
  )


def test_weights_belong_to_the_experts_in_the_order_they_are_named(
  kept, tmp_path
):
  _, base, path = kept
  alone = f'{path}/{library.EXPERTS}/clouds'
  for order, weights in (('clouds,apples', '1,0'), ('apples,clouds', '0,1')):
    to = tmp_path / order
    argv = (f'--experts={order}', f'--weights={weights}')
    assert run('merge', path, f'--to={to}', '--method=mean', *argv) == 0
    np.testing.assert_allclose(scores(base, to), scores(base, alone), rtol=1e-4)


def test_a_part_of_the_experts_may_be_taken(kept, tmp_path):
  _, _, path = kept
  to = tmp_path / 'two'
  argv = ('--router=uniform', '--experts=clouds,apples')
  assert run('assemble', path, f'--to={to}', *argv) == 0
  said = exported.describe(str(to))
  assert said.tasks == {'by': 'dataset', 'names': ['apples', 'clouds']}
  tree, _ = exported.load(str(to))
  assert {len(x) for x in parameters.flatten(tree).values()} == {2}


def test_a_library_is_read_as_adapters_and_texts_have_no_task(kept):
  _, base, path = kept
  model = moe_lite.load(base, path, vocabulary=Bytes())
  with pytest.raises(UserError, match='a text does not say its task'):
    model.score(TEXTS, CHOICES)
  model.load_adapter(f'{path}/{library.EXPERTS}/boats', 'boats')
  model.set_adapter('boats')
  alone = scores(base, f'{path}/{library.EXPERTS}/boats')
  np.testing.assert_allclose(model.score(TEXTS, CHOICES), alone, rtol=1e-6)


@pytest.mark.parametrize(
  'router', ['arrow', pytest.param('spectr', marks=pytest.mark.slow)]
)
def test_prototypes_are_leaves_that_load_without_the_library(
  kept, tmp_path, router, capsys
):
  _, base, path = kept
  to = tmp_path / router
  argv = ('assemble', path, f'--to={to}', f'--router={router}', '--top_k=2')
  if 'ia3' in path:
    assert run(*argv) == 2
    assert 'routes pairs of matrices' in capsys.readouterr().err
    return
  assert run(*argv) == 0
  tree, said = exported.load(str(to))
  assert any('router' in leaf for leaf in parameters.flatten(tree))
  assert 'k=2' in str(said.method.sites)
  found = scores(base, to)
  assert np.isfinite(found).all()
  # All experts alike make every router the expert itself.
  again = tmp_path / 'alike'
  for name in ('one', 'two'):
    expert = f'{path}/{library.EXPERTS}/boats'
    assert run('add', again, name, expert) == 0
  alike = tmp_path / 'mixed'
  assert run('assemble', again, f'--to={alike}', f'--router={router}') == 0
  np.testing.assert_allclose(
    scores(base, alike),
    scores(base, f'{path}/{library.EXPERTS}/boats'),
    rtol=1e-4,
  )
