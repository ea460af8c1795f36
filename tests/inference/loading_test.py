"""A base and its adapters in a notebook: what `moe_lite.load` finds."""

import dataclasses
import doctest
import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

import moe_lite
from moe_lite import adapters
from moe_lite.checkpoints import exported
from moe_lite.checkpoints.hugging_face import config
from moe_lite.checkpoints.hugging_face.file_names import VOCABULARY
from moe_lite.checkpoints.peft.folder import write
from moe_lite.convert import command
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.inference import loading
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.process import cli
from moe_lite.t5 import Transformer
from tasks.mini import vocabulary as mini_vocabulary
from tests import tiny_export, tiny_run
from tests.checkpoints.hugging_face import written_files as made
from tests.paths import ROOT
from tests.tasks.p3 import loopback_hub as hubs

MINI = pathlib.Path(mini_vocabulary.PATH)
QUESTION = 'Is a robin a bird? Yes or no?'
CHOICES = ['yes', 'no']


class Letters:
  """A vocabulary of letters that ends a text, as transformers' do."""

  def encode(self, text):
    return [2 + ord(letter) % 40 for letter in text] + [1]

  def decode(self, ids):
    return ''.join(chr(62 + i) for i in ids)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tiny_export.write(tmp_path_factory.mktemp('pretrained') / 'exported')


def test_the_five_lines_run_as_printed(folder, monkeypatch):
  monkeypatch.chdir(pathlib.Path(folder).parent)
  names = {}
  example = doctest.DocTestParser().get_doctest(
    loading.__doc__, names, 'five lines', None, None
  )
  assert len(example.examples) == 5
  result = doctest.DocTestRunner().run(example, clear_globs=False)
  assert not result.failed
  assert all(isinstance(x, str) for x in example.globs['answers'])
  assert example.globs['scores'].shape == (2,)
  assert 'encoder/layers_0/attention/key' in example.globs['routing'].routers


def test_a_notebook_loads_neither_tensorflow_nor_torch(folder, tmp_path):
  base, run = tiny_run.write(tmp_path)
  code = f"""
import sys, time
start = time.perf_counter()
import moe_lite
imported = time.perf_counter()
assert 'jax' not in sys.modules
model = moe_lite.load('mini', adapters={folder!r})
loaded = time.perf_counter()
model.generate('Is a robin a bird?', 4)
model.routing('Is a robin a bird?')
print(imported - start, loaded - imported)
class Bytes:
  encode = lambda self, text: [3 + x for x in text.encode()]
  decode = lambda self, ids: ''
moe_lite.load({base!r}, {run!r}, vocabulary=Bytes())
heavy = ('tensorflow', 'seqio', 'torch', 'tasks', 'matplotlib', 'clu')
print(*(name for name in heavy if name in sys.modules))
"""
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT
  )
  assert not done.returncode, done.stderr
  times, heavy = done.stdout.split('\n')[:2]
  print(f'import and load: {times} s')
  assert not heavy


def test_what_a_folder_carries_wins_over_its_base(folder, tmp_path):
  alone = moe_lite.load('mini')
  adapted = moe_lite.load('mini', folder)
  assert not alone.facts['method'] and alone.facts['trainable_parameters'] == 0
  assert list(adapted.facts['method']) == ['intermediate', 'key']
  said = "adapters 'default' (in use): MoV with 2 or 3 experts at"
  assert said in repr(adapted) and 'no adapters' in repr(alone)
  own = tiny_export.write(tmp_path / 'own', vocabulary=MINI.read_bytes())
  shutil.copy(ROOT / 'setup.py', tmp_path / 'own' / VOCABULARY)
  with pytest.raises(UserError, match='spiece.model is not a SentencePiece'):
    moe_lite.load('mini', own)
  again = moe_lite.load('mini', own, vocabulary=str(MINI))
  assert again.vocabulary.encode(QUESTION) == alone.vocabulary.encode(QUESTION)


def test_activations_and_base_are_of_the_types_asked_for(folder):
  model = moe_lite.load('mini', folder, dtype='bfloat16', base_dtype='int8')
  assert model.network.dtype == 'bfloat16'
  assert np.isfinite(model.score(QUESTION, CHOICES)).all()


def test_a_run_serves_where_it_says_its_network(tmp_path):
  base, run = tiny_run.write(tmp_path)
  model = moe_lite.load(base, run, vocabulary=tiny_run.VOCABULARY)
  assert model.facts['step'] == tiny_run.STEP
  (saved,) = pathlib.Path(run, 'checkpoints').glob('*/description/metadata')
  description = json.loads(saved.read_text())
  del description['network'], description['seal']
  saved.write_text(json.dumps(description))
  with pytest.raises(UserError, match='Export it first'):
    moe_lite.load(base, run, vocabulary=tiny_run.VOCABULARY)


def test_a_folder_of_hugging_face_ends_its_inputs(tmp_path):
  root = made.write(tmp_path / 'theirs', made.state('1.1'))
  model = moe_lite.load(str(root), vocabulary=Letters())
  assert model.network.num_heads == 2
  other = moe_lite.load(str(root), vocabulary=Letters(), inputs_eos=False)
  one, other = (x.score('abcd', ['x', 'yy']) for x in (model, other))
  assert np.abs(one - other).max() > 1e-3


def convert_to(folder, *argv):
  argv = ['convert', *argv, f'--to={folder}']
  assert cli.guard(command.convert, argv, None) == 0
  return folder


def test_other_forms_of_their_base_read_text_alike(tmp_path):
  root = made.write(tmp_path / 'theirs', made.state('1.1'))
  (root / 'spiece.model').write_bytes(b'pieces')
  expected = moe_lite.load(root, vocabulary=Letters()).score('ab', ['x', 'yy'])
  ours = convert_to(tmp_path / 'ours', 'export_base', str(root))
  scores = moe_lite.load(ours, vocabulary=Letters()).score('ab', ['x', 'yy'])
  np.testing.assert_array_equal(scores, expected)
  assert (ours / 'spiece.model').read_bytes() == b'pieces'
  # Adapters of the identity, as somebody trained them with PEFT.
  network = dataclasses.replace(
    config.network(root), adapters={'key': adapters.IA3}
  )
  shapes = EncoderDecoderModel(Transformer(network)).abstract_variables()
  ones = {
    path: np.ones(leaf.shape, np.float32)
    for path, leaf in parameters.flatten(shapes['params']).items()
    if parameters.is_adapter(path)
  }
  write(str(tmp_path / 'peft'), ones, network)
  imported = convert_to(
    tmp_path / 'imported',
    'import_peft',
    str(tmp_path / 'peft'),
    f'--base={root}',
  )
  model = moe_lite.load(root, imported, vocabulary=Letters())
  np.testing.assert_array_equal(model.score('ab', ['x', 'yy']), expected)


def test_adapters_come_from_the_hub(folder, tmp_path, monkeypatch):
  root = pathlib.Path(shutil.copytree(folder, tmp_path / 'repository'))
  (root / 'more.bin').write_bytes(b'never read')
  cache = str(tmp_path / 'cache')
  monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', cache)
  expected = moe_lite.load('mini', folder).facts
  with hubs.serve(root, 'someone/adapters', 'models') as hub:
    monkeypatch.setenv('HF_ENDPOINT', hub.url)
    model = moe_lite.load('mini', 'hf://someone/adapters@main')
    assert hub.downloads() == [exported.CONFIG, exported.WEIGHTS]
    kept = 'trainable_fingerprint'
    assert model.facts[kept] == expected[kept]
    (root / exported.CONFIG).rename(root / 'other.json')
    with pytest.raises(UserError, match='lacks adapter_config.json or'):
      moe_lite.load('mini', 'hf://someone/adapters')


def mistakes(folder, tmp_path):
  """Name to arguments and message."""
  base, _ = tiny_run.write(tmp_path)
  other = tiny_export.write(tmp_path / 'other', fingerprint='0' * 16)
  theirs = str(made.write(tmp_path / 'theirs', made.state('1.1')))
  (tmp_path / 'theirs' / 'tokenizer.json').touch()
  return [
    (['minni'], {}, "there is no base.*Did you mean 'mini'"),
    (['mini', 'nowhere'], {}, "adapters = 'nowhere': there are none"),
    (['mini', ['a', 'b']], {}, 'give a mapping of names to such places'),
    ([moe_lite.load('mini')], {}, 'base is a TextModel, and must be a path'),
    (['mini', {}], {}, 'adapters = {}: give {NAME: PLACE}'),
    (
      ['mini', {'a': folder, 'b': 3}],
      {},
      'adapters is a int, and must be a path',
    ),
    (['mini', other], {}, 'stands on another base'),
    ([base, folder], {'vocabulary': str(MINI)}, 'does not fit the network'),
    ([base], {}, 'There is no spiece.model in .*base. Give vocabulary='),
    ([theirs], {}, 'a tokenizer.json alone is not read'),
    ([theirs], {'vocabulary': str(MINI)}, '1233 ids, .* 48 rows'),
    (['mini'], {'vocabulary': 'none'}, "vocabulary = 'none' is not a file"),
    (['mini'], {'vocabulary': 7}, "vocabulary = 7 has no method 'encode'"),
    (['mini'], {'dtype': 'float33'}, 'float33'),
    (['mini', folder], {'step': 9}, 'step = 9 chooses a checkpoint of a run'),
    (['mini'], {'batch_size': 0}, 'BATCH_SIZE = 0'),
    (['mini'], {'max_input_length': 0}, 'max_input_length = 0'),
  ]


def test_mistakes_are_named(folder, tmp_path):
  for arguments, options, message in mistakes(folder, tmp_path):
    with pytest.raises(UserError, match=message):
      moe_lite.load(*arguments, **options)


def test_the_package_offers_three_functions():
  assert moe_lite.__all__ == ['evaluate', 'finetune', 'load']
  assert moe_lite.load is loading.load
  with pytest.raises(AttributeError, match='laod'):
    moe_lite.laod  # noqa: B018
