"""The vocabulary of the mini suite, and how it was made.

`python -m tasks.mini.vocabulary` makes it anew. SentencePiece trains a small
unigram model on the raw text and the prompts in lower case, and every word of
that text is added to it as a whole piece. A whole word costs less than any way
to spell it, so it is always chosen. What the world has no word for is spelt.
The file ships with the package, because a base depends on its ids.
"""

import collections
import io
import math
import os
import re
import tempfile
from collections.abc import Iterable, Iterator

import seqio

from tasks.mini.data_sets import DATA_SETS
from tasks.mini.text import Writer

PATH = os.path.join(os.path.dirname(__file__), 'mini.model')
PIECES = 1504  # At most.
TRAINED_PIECES = 320
EXTRA_IDS = 32  # Sentinels of span corruption. At most 1536 ids in all.

# How much more a spelt word costs than a whole one, in nats.
_SPELLING = 20.0


def vocabulary() -> seqio.SentencePieceVocabulary:
  """The vocabulary. Its file is read when it is first used."""
  return seqio.SentencePieceVocabulary(PATH, extra_ids=EXTRA_IDS)


def prompts(rows: int) -> Iterator[str]:
  """The prompts and choices of `rows` rows of every data set."""
  for data_set in DATA_SETS:
    for row in data_set.draw('train', rows):
      for template in data_set.templates.values():
        yield template.prompt(row)
        yield ' '.join(template.choices(row))


def train(path: str = PATH) -> None:
  """Trains the vocabulary and writes it to `path`."""
  # Imported here: only training needs the trainer.
  import sentencepiece
  from sentencepiece import sentencepiece_model_pb2

  text = list(Writer(seed=0).passages(60_000)) + list(prompts(400))
  trained = io.BytesIO()
  with tempfile.NamedTemporaryFile('w', suffix='.tsv') as fold_case:
    for upper in range(ord('A'), ord('Z') + 1):
      fold_case.write(f'{upper:X}\t{upper + 32:X}\n')
    fold_case.flush()
    sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(text),
      model_writer=trained,
      vocab_size=TRAINED_PIECES,
      pad_id=0,
      eos_id=1,
      unk_id=2,
      bos_id=-1,
      normalization_rule_tsv=fold_case.name,
      required_chars="abcdefghijklmnopqrstuvwxyz0123456789.,:;?!/|'()-",
      num_threads=1,
      minloglevel=1,
    )
  # Protobuf makes the class at import, so checkers do not know it.
  proto = sentencepiece_model_pb2.ModelProto  # pyright: ignore[reportAttributeAccessIssue]
  model = proto.FromString(trained.getvalue())
  counts = collections.Counter(text_words(text))
  total = sum(counts.values())
  scores = {'▁' + w: math.log(n / total) for w, n in counts.items()}
  for piece in model.pieces:
    if piece.type == piece.NORMAL and piece.piece[-1:].isalnum():
      spelt = piece.score - _SPELLING
      piece.score = scores.pop(piece.piece, spelt)
  room = PIECES - len(model.pieces)
  for word in sorted(scores, key=scores.__getitem__, reverse=True)[:room]:
    model.pieces.add(piece=word, score=scores[word])
  with open(path, 'wb') as f:
    f.write(model.SerializeToString())


def text_words(text: Iterable[str]) -> list[str]:
  """The words of a text, in lower case."""
  return re.findall(r'[a-z]+', ' '.join(text).lower())


def words() -> set[str]:
  """Every word of the world, of the raw text's patterns and of the prompts."""
  raw = Writer(seed=1).passages(20_000)
  return set(text_words([*raw, *prompts(200)]))


if __name__ == '__main__':
  train()
