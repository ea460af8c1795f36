"""The vocabulary of the mini suite covers its text and its prompts."""

from tasks.mini import vocabulary
from tasks.mini.text import Writer


def test_every_word_is_one_piece_of_the_vocabulary():
  loaded = vocabulary.vocabulary()
  words = vocabulary.words()
  assert all(len(loaded.encode(word)) == 1 for word in words)
  # Folding case, and spelling what the world has no word for.
  assert loaded.encode('The Dog') == loaded.encode('the dog')
  assert 2 not in loaded.encode('zanzibar (1999)')


def test_base_has_read_every_word_of_the_prompts():
  raw = set(vocabulary.text_words(Writer(2).passages(20_000)))
  prompts = set(vocabulary.text_words(vocabulary.prompts(200)))
  assert not prompts - raw
