"""A folder that transformers wrote, in five lines here and there."""

import shutil

import pytest

import moe_lite
from tasks.mini import vocabulary

torch = pytest.importorskip('torch', reason='needs the extra `hf`: torch')
transformers = pytest.importorskip(
  'transformers', reason='needs the extra `hf`: transformers'
)

pytestmark = pytest.mark.hf

TEXTS = ['Is a robin a bird?', 'Who has the red key? Anna or Ben']


def test_it_answers_alike_with_either_vocabulary(tmp_path):
  torch.manual_seed(0)
  config = transformers.T5Config(
    vocab_size=1280,
    d_model=32,
    d_kv=8,
    d_ff=64,
    num_layers=2,
    num_heads=4,
    feed_forward_proj='gated-gelu',
    tie_word_embeddings=False,
    decoder_start_token_id=0,
  )
  theirs = transformers.T5ForConditionalGeneration(config).eval()
  theirs.save_pretrained(tmp_path)
  shutil.copy(vocabulary.PATH, tmp_path / 'spiece.model')
  tokenizer = transformers.T5Tokenizer.from_pretrained(tmp_path)
  ours = moe_lite.load(str(tmp_path))
  with_theirs = moe_lite.load(str(tmp_path), vocabulary=tokenizer)
  answers = ours.generate(TEXTS, 10), with_theirs.generate(TEXTS, 10)
  for text, *found in zip(TEXTS, *answers, strict=True):
    ids = tokenizer.encode(text)
    assert ids == [*ours.vocabulary.encode(text), 1]
    (outputs,) = theirs.generate(torch.tensor([ids]), max_new_tokens=10)
    outputs = outputs.tolist()[1:]
    assert found == [ours.vocabulary.decode(outputs), tokenizer.decode(outputs)]
  scores = ours.score(TEXTS[0], ['yes', 'no'])
  for choice, score in zip(('yes', 'no'), scores, strict=True):
    encoded = torch.tensor([tokenizer.encode(TEXTS[0])])
    labels = torch.tensor([tokenizer.encode(choice)])
    loss = theirs(input_ids=encoded, labels=labels).loss.item()
    assert score == pytest.approx(-loss * labels.numel(), rel=1e-4)
