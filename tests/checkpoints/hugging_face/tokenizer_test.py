"""What a tokenizer's files say of texts, read or refused by name."""

import json
import shutil

import pytest

from moe_lite.checkpoints.hugging_face import tokenizer
from moe_lite.core.errors import UserError
from moe_lite.inference.vocabulary import Bytes, find_vocabulary
from tasks.mini import vocabulary

TOKENS = {'32000': {'content': '<extra_id_0>'}, '1': {'content': '</s>'}}


def write(folder, **files):
  for name, said in files.items():
    (folder / f'{name}.json').write_text(json.dumps(said))
  return str(folder)


def test_nothing_is_said_without_files(tmp_path):
  assert tokenizer.describe(str(tmp_path)) == {}


def test_sentinels_are_counted(tmp_path):
  said = {'extra_ids': 0, 'added_tokens_decoder': TOKENS}
  folder = write(tmp_path, tokenizer_config=said, added_tokens={'<pad>': 0})
  assert tokenizer.describe(folder) == {'extra_ids': 0}


@pytest.mark.parametrize('file', ['config', 'tokenizer_config'])
def test_bytes_are_a_vocabulary(tmp_path, file):
  folder = write(tmp_path, **{file: {'tokenizer_class': 'ByT5Tokenizer'}})
  says = tokenizer.describe(folder)
  assert says == {'bytes': True}
  found = find_vocabulary(None, [folder], says, 384)
  assert found.encode('aé') == [100, 198, 172]
  assert found.decode([100, 198, 172, 1, 300, 0]) == 'aé'
  assert [found.piece(i) for i in (1, 100, 198)] == ['<1>', 'a', '<0xC3>']
  assert Bytes().decode([198]) == ''


@pytest.mark.parametrize(
  'files',
  [
    {'added_tokens': {'<sep>': 32100}},
    {'tokenizer_config': {'added_tokens_decoder': {'7': {'content': '<sep>'}}}},
  ],
)
def test_tokens_that_no_model_has_are_refused(tmp_path, files):
  folder = write(tmp_path, **files)
  shutil.copy(vocabulary.PATH, tmp_path / 'spiece.model')
  says = tokenizer.describe(folder)
  with pytest.raises(UserError, match='lacks: <sep>'):
    find_vocabulary(None, [folder], says, 2000)
  assert find_vocabulary(vocabulary.PATH, [folder], says, 2000)


@pytest.mark.parametrize(
  'files',
  [
    {'tokenizer_config': [1]},
    {'tokenizer_config': {'extra_ids': 'x'}},
    {'added_tokens': 'x'},
  ],
)
def test_a_damaged_file_is_named(tmp_path, files):
  folder = write(tmp_path, **files)
  with pytest.raises(UserError, match=f'{next(iter(files))}.json'):
    tokenizer.describe(folder)
