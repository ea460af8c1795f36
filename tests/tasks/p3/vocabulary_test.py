"""A vocabulary that P3 cannot be read with is refused."""

import pytest
import sentencepiece
import seqio

from moe_lite.core.errors import UserError
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
