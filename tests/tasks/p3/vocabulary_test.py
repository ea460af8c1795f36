"""A vocabulary that P3 cannot be read with is refused."""

import gin
import pytest
import sentencepiece
import seqio

from moe_lite.core.errors import UserError
from moe_lite.process import gin_paths
from tasks.mini import vocabulary as mini
from tasks.p3 import suite
from tests.tasks.p3 import copies
from tests.tasks.p3 import rows as p3_rows

pytestmark = pytest.mark.usefixtures('own_cache_dirs')


# Gin files of users may have the older name.
@pytest.mark.parametrize('module', ['tasks.p3.settings', 'tasks.p3_settings'])
def test_a_vocabulary_that_cannot_be_read_is_named(copy, module):
  copies.bind("vocabulary.path = '/nowhere/spm.model'", module=module)
  with pytest.raises(UserError, match='/nowhere/spm.model'):
    copies.read(copies.TRAIN)


def test_a_vocabulary_without_t5_s_special_ids_is_refused(tmp_path):
  p3_rows.write_cache(tmp_path, copies.TRAIN, {'train': 7})
  seqio.add_global_cache_dirs([str(tmp_path)])
  model = tmp_path / 'other.model'
  with model.open('wb') as file:
    sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(['red green blue'] * 50),
      model_writer=file,
      vocab_size=13,
      hard_vocab_limit=False,
    )
  copies.bind(f"vocabulary.path = '{model}'")
  with pytest.raises(UserError, match='has EOS 2 and padding -1'):
    copies.read(copies.TRAIN)


def test_tasks_of_one_s_own_have_the_vocabulary_that_a_gin_file_names(tmp_path):
  """As tasks/README.md says: a data file includes it, and a macro names it."""
  data = tmp_path / 'my_data.gin'
  data.write_text("include 'vocabularies/t5.gin'\n")
  features = suite.FEATURES  # Registered before a gin file is read.
  gin.add_config_file_search_path(str(gin_paths.folder()))
  macros = [
    f'P3_VOCABULARY = {mini.PATH!r}',
    f'P3_EXTRA_IDS = {mini.EXTRA_IDS}',
  ]
  gin.parse_config_files_and_bindings([str(data)], macros)
  text = 'the bank gave me a loan .'
  for name, eos in {'inputs': False, 'targets': True}.items():
    vocabulary = features[name].vocabulary
    assert vocabulary.encode(text) == mini.vocabulary().encode(text)
    assert vocabulary.vocab_size == mini.vocabulary().vocab_size
    assert (features[name].add_eos, vocabulary.eos_id) == (eos, 1)
