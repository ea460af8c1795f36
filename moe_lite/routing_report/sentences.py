"""What routers make of the tokens of a few examples."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import seqio

from moe_lite.evaluation.examples import ExampleReader, Examples, batch_of
from moe_lite.inference import token_routing
from moe_lite.inference.trained import Trained
from moe_lite.inference.vocabulary import Text
from moe_lite.routing_report.rows import Row


@dataclasses.dataclass(frozen=True)
class Sentence:
  """An example, and how it was routed.

  Attributes:
    dataset: the name of its data set.
    task: the name of its task.
    routing: what routers made of its tokens.
  """

  dataset: str
  task: str
  routing: token_routing.TokenRouting


def route(
  trained: Trained, reader: ExampleReader, examples: Examples, most: int
) -> list[Sentence]:
  """Routes the first example of each of the first `most` data sets.

  Args:
    trained: the model.
    reader: what read the examples.
    examples: the examples of every data set.
    most: how many data sets there are to be at most.
  """
  # The smallest batch that the mesh can split; all rows but the first are
  # padding.
  shapes = reader.shapes(trained.mesh.shape['data'])
  compiled = trained.compile(trained.model.routing_tokens)
  sentences = []
  for dataset, (example, *_) in itertools.islice(examples.items(), most):
    statistics = compiled(batch_of([example], shapes))
    pieces = (
      _pieces(example.task.output_features[name].vocabulary, example.row[name])
      for name in ('inputs', 'targets')
    )
    sentences.append(
      Sentence(
        dataset, example.task.name, token_routing.of_text(statistics, *pieces)
      )
    )
  return sentences


def rows(sentences: Sequence[Sentence], routers: Sequence[str]) -> list[Row]:
  """A row for every sentence, chosen router and token."""
  return [
    {
      'dataset': sentence.dataset,
      'task': sentence.task,
      'router': router,
      'position': position,
      'token': token,
      'expert': int(p.argmax()),
      'probability': float(p.max()),
    }
    for sentence in sentences
    for router in routers
    for position, (token, p) in enumerate(
      zip(
        sentence.routing.routers[router].tokens,
        sentence.routing.routers[router].probabilities,
        strict=True,
      )
    )
  ]


def _pieces(vocabulary: seqio.Vocabulary, ids: np.ndarray) -> list[str]:
  if isinstance(vocabulary, seqio.SentencePieceVocabulary):
    piece = vocabulary.tokenizer.id_to_piece
    return [piece(int(i)) for i in ids]
  return Text(vocabulary, vocabulary.vocab_size, False).pieces(ids)
