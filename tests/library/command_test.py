"""Experts are added and listed; what does not belong together is refused."""

import functools
import re

import numpy as np
import pytest

from moe_lite import adapters
from moe_lite.checkpoints import exported, library, safetensors_files
from moe_lite.core import json_files
from tests import tiny_export
from tests.library import experts
from tests.library.experts import run


@pytest.fixture(scope='module')
def kept(tmp_path_factory):
  folder = tmp_path_factory.mktemp('kept')
  return folder, *experts.write(folder)


def refused(capsys, *argv):
  """What a command says that ends with exit code 2, in one message."""
  capsys.readouterr()
  assert run(*argv) == 2
  said = capsys.readouterr().err
  assert said.count('error:') == 1
  return said


def test_experts_are_listed_with_what_they_are(kept, capsys):
  assert run('list', kept[2]) == 0
  said = capsys.readouterr().out
  for name in experts.NAMES:
    assert name in said
  assert 'at query: LoRA(rank=2, alpha=3.0)' in said
  assert kept[1] in said


def test_an_expert_stays_bit_for_bit_what_was_added(kept):
  folder, _, path = kept
  for name in experts.NAMES:
    before = safetensors_files.read(folder / name / exported.WEIGHTS)
    after = safetensors_files.read(
      folder / 'library' / library.EXPERTS / name / exported.WEIGHTS
    )
    assert before.keys() == after.keys()
    for leaf in before:
      np.testing.assert_array_equal(before[leaf], after[leaf])


def test_a_name_is_not_replaced_unless_it_is_asked_for(tmp_path, capsys):
  base, path = experts.write(tmp_path, names=('apples', 'boats'))
  other = tiny_export.write(
    tmp_path / 'other', base, sites=experts.LORA, seed=9
  )
  said = refused(capsys, 'add', path, 'apples', other)
  assert "'apples' already" in said and '--overwrite' in said
  before = library.index(path)
  assert run('add', path, 'apples', other, '--overwrite') == 0
  after = library.index(path)
  assert before['boats'] == after['boats']
  assert before['apples']['fingerprint'] != after['apples']['fingerprint']


@pytest.mark.parametrize(
  'sites, message',
  [
    (
      {**experts.LORA, 'key': functools.partial(adapters.LoRA, rank=3)},
      'at key the library has LoRA.rank=2, alpha=3.0. and .* has LoRA.rank=3',
    ),
    (
      {x: y for x, y in experts.LORA.items() if x != 'wo'},
      'at wo the library has LoRA.* has none',
    ),
    (experts.IA3, 'has IA3'),
    (
      {'key': functools.partial(adapters.MoV, num_experts=2)},
      'has MoV at key.*library split',
    ),
  ],
)
def test_another_method_rank_or_sites_are_refused(
  kept, tmp_path, capsys, sites, message
):
  _, base, path = kept
  other = tiny_export.write(tmp_path / 'other', base, sites=sites)
  said = refused(capsys, 'add', path, 'other', other)
  assert re.search(message, said.replace('\n', ' '))
  assert 'other' not in library.index(path)


def test_another_base_is_refused_with_both(kept, tmp_path, capsys):
  _, base, path = kept
  other = tiny_export.write(
    tmp_path / 'other', base, fingerprint='feed', sites=experts.LORA
  )
  said = refused(capsys, 'add', path, 'other', other)
  assert 'feed' in said and 'stands on another base' in said


def test_nan_in_an_expert_is_refused_by_its_leaf(kept, tmp_path, capsys):
  _, base, path = kept
  other = tiny_export.write(tmp_path / 'other', base, sites=experts.LORA)
  leaves = safetensors_files.read(tmp_path / 'other' / exported.WEIGHTS)
  name = sorted(leaves)[0]
  leaves[name] = np.full_like(leaves[name], np.nan)
  safetensors_files.write(tmp_path / 'other' / exported.WEIGHTS, leaves)
  said = refused(capsys, 'add', path, 'other', other)
  assert name in said


@pytest.mark.parametrize(
  'argv, message',
  [
    (('lits', 'x'), "Did you mean 'list'"),
    (('list', 'nowhere'), 'not a library of experts'),
    (('add', 'x', '../y', 'z'), 'cannot be the name of an expert'),
    (('add', 'x'), 'Give a library, the name'),
    (('cluster', '{library}', '--clusters=4'), 'from 1 to 3'),
    (
      ('assemble', '{library}', '--to={to}', '--router=arow'),
      "Did you mean 'arrow'",
    ),
    (
      ('assemble', '{library}', '--to={to}', '--router=phatgoose'),
      'these experts have none. First train their gates',
    ),
    (
      ('assemble', '{library}', '--to={to}', '--router=task', '--top_k=2'),
      'has no --top_k',
    ),
    (
      (
        *('assemble', '{library}', '--to={to}', '--router=task'),
        '--experts=apples,bots',
      ),
      "no expert 'bots'. Did you mean 'boats'",
    ),
    (
      (
        *('assemble', '{library}', '--to={to}', '--router=task'),
        '--experts=apples',
      ),
      'at least two experts',
    ),
    (
      ('merge', '{library}', '--to={to}', '--method=tise'),
      "Did you mean 'ties'",
    ),
    (
      ('merge', '{library}', '--to={to}', '--weights=1,2'),
      'has 2 numbers for 3 experts: give one for each',
    ),
    (
      (
        *('merge', '{library}', '--to={to}', '--weights=1,2'),
        '--experts=apples,apples',
      ),
      'named twice',
    ),
    (
      ('merge', '{library}', '--to={to}', '--weights=1,2,x'),
      "'x', which is no number",
    ),
    (('split', '{library}/experts/boats', '--to={to}'), 'no MoV and no MoLoRA'),
  ],
)
def test_mistakes_are_one_message(kept, tmp_path, capsys, argv, message):
  to = tmp_path / 'to'
  filled = [x.format(library=kept[2], to=to) for x in argv]
  assert message in refused(capsys, *filled)
  assert not to.exists()


def test_a_damaged_index_is_refused(kept, tmp_path, capsys):
  (tmp_path / library.INDEX).write_text('{"format": "other"}')
  assert 'not the index of a library' in refused(capsys, 'list', tmp_path)
  said = json_files.read(f'{kept[2]}/{library.INDEX}')
  json_files.write(tmp_path / library.INDEX, {**said, 'version': 99})
  assert 'install a newer moe_lite' in refused(capsys, 'list', tmp_path)


def test_clusters_name_the_data_to_train_on(kept, capsys):
  capsys.readouterr()
  assert run('cluster', kept[2], '--clusters=2') == 0
  said = ''.join(capsys.readouterr())
  assert said.count('--gin.MIXTURE_OR_TASK_NAME=') == 2
