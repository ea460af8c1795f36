"""Spans of the mini suite's text are corrupted as T5's are."""

from tasks.mini import suite, vocabulary
from tasks.mini.text import Writer
from tests.tasks.reading import read_rows


def test_spans_are_corrupted_as_t5_does():
  (row, *_) = read_rows('mini_pretrain_span_corruption', take=4)
  size = suite.VOCABULARY.vocab_size
  first = size - vocabulary.EXTRA_IDS
  inputs = [i for i in row['inputs'] if i >= first]
  targets = [i for i in row['targets'] if i >= first]
  assert targets == list(range(size - 1, size - 1 - len(targets), -1))
  # A passage that ends visibly ends its targets with one sentinel more.
  assert inputs in (targets, targets[:-1])
  assert row['targets'][0] == size - 1 and row['targets'][-1] == 1
  # Filling the spans gives the passage back.
  filled, spans = [], {}
  for i in row['targets'][:-1]:
    spans.setdefault(i, []) if i >= first else spans[[*spans][-1]].append(i)
  for i in row['inputs']:
    filled += spans[i] if i >= first else [i]
  passage = next(Writer(1).passages(1))
  assert filled == suite.VOCABULARY.encode(passage)
