"""Text to ids and back, without SeqIO: the `sentencepiece` package alone.

Ids equal those of `seqio.SentencePieceVocabulary` over the same model, those
of its sentinels included.
"""

import importlib.resources
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from etils import epath

from moe_lite.checkpoints import buckets
from moe_lite.checkpoints.hugging_face.file_names import VOCABULARY
from moe_lite.core.errors import UserError
from moe_lite.models import decoding

# How many sentinels T5 has beyond its model's pieces.
_T5_SENTINELS = 100
_HOW = (
  "Give vocabulary='...', the path of a SentencePiece model, or an object with "
  'encode and decode, such as transformers.AutoTokenizer.from_pretrained(...).'
)


class Vocabulary(Protocol):
  """What serves as one: SeqIO's vocabularies, transformers' tokenizers."""

  def encode(self, text: str, /) -> Sequence[int]: ...

  def decode(self, ids: Any, /) -> str: ...


class SentencePiece:
  """A SentencePiece model, and the sentinels of span corruption.

  '<extra_id_0>' is the last id, '<extra_id_1>' the one before, and so on.
  """

  def __init__(self, path: str, extra_ids: int = 0):
    """Args: `extra_ids`, how many sentinels come after the model's pieces.

    Raises:
      UserError: if it is no such model.
    """
    # Here, for those who bring their own vocabulary.
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    # Protobuf makes the class when its module is imported.
    proto = sentencepiece_model_pb2.ModelProto  # pyright: ignore[reportAttributeAccessIssue]
    try:
      model = proto.FromString(buckets.read(path))
      for i in reversed(range(extra_ids)):
        model.pieces.add(
          piece=f'▁<extra_id_{i}>', type=proto.SentencePiece.USER_DEFINED
        )
      self._model = sentencepiece.SentencePieceProcessor(
        model_proto=model.SerializeToString()
      )
    except Exception as error:  # Protobuf's are of no common kind.
      raise UserError(
        f'{path} is no SentencePiece model: {error}. {_HOW}'
      ) from error

  @property
  def size(self) -> int:
    """How many ids there are."""
    return self._model.get_piece_size()

  def encode(self, text: str) -> list[int]:
    return self._model.encode(text)

  def decode(self, ids: Iterable[int]) -> str:
    unknown, size = self._model.unk_id(), self.size
    # A network may have more ids than its vocabulary.
    return self._model.decode([int(i) if i < size else unknown for i in ids])

  def piece(self, id: int) -> str:
    """The piece of an id, '▁' for the space before a word."""
    return self._model.id_to_piece(id) if id < self.size else f'<{id}>'


class Text:
  """Text as a network reads and writes it: its vocabulary, EOS, its limits."""

  def __init__(self, vocabulary: Vocabulary, vocab_size: int, inputs_eos: bool):
    """Args:

      vocabulary: of the network.
      vocab_size: rows of its embedding.
      inputs_eos: whether inputs end with EOS, as targets do.

    Raises:
      UserError: if the vocabulary is none, or of another network.
    """
    for method in ('encode', 'decode'):
      if not callable(getattr(vocabulary, method, None)):
        raise UserError(
          f'vocabulary = {vocabulary!r} has no method {method!r}. {_HOW}'
        )
    size = getattr(vocabulary, 'size', 0)
    if isinstance(size, int) and size > vocab_size:
      raise UserError(
        f"The vocabulary has {size} ids, and the network's embedding "
        f'{vocab_size} rows: they do not belong together. {_HOW}'
      )
    self.vocabulary = vocabulary
    self.inputs_eos = inputs_eos
    self._vocab_size = vocab_size

  def inputs(self, text: str) -> list[int]:
    """Ids of an input.

    Raises:
      UserError: if it is no text, or holds no token.
    """
    ids = self._ids(text)
    if not ids:
      raise UserError(f'The input {text!r} is empty.')
    return [*ids, decoding.EOS_ID] if self.inputs_eos else ids

  def targets(self, text: str) -> list[int]:
    """Ids of a target, EOS included."""
    return [*self._ids(text), decoding.EOS_ID]

  def text(self, ids: Iterable[int]) -> str:
    return self.vocabulary.decode([int(i) for i in ids])

  def pieces(self, ids: Iterable[int]) -> list[str]:
    """What every id stands for by itself."""
    piece = getattr(self.vocabulary, 'piece', None)
    if piece is None:
      piece = lambda i: self.vocabulary.decode([i])
    return ['</s>' if i == decoding.EOS_ID else piece(int(i)) for i in ids]

  def _ids(self, text: str) -> list[int]:
    if not isinstance(text, str):
      raise UserError(f'{text!r} is no text; a string is needed.')
    ids = [int(i) for i in self.vocabulary.encode(text)]
    if ids[-1:] == [decoding.EOS_ID]:  # Tokenizers of transformers add it.
      ids.pop()
    if ids and max(ids) >= self._vocab_size:
      raise UserError(
        f"{text!r} has the id {max(ids)}, and the network's embedding "
        f'{self._vocab_size} rows: the vocabulary is of another network. {_HOW}'
      )
    return ids


def describe(inputs: Any) -> dict[str, Any]:
  """What `load` needs to know of SeqIO's feature of the inputs, for JSON."""
  says = {'inputs_eos': bool(inputs.add_eos)}
  if hasattr(inputs.vocabulary, 'sentencepiece_model_file'):
    says['extra_ids'] = inputs.vocabulary.extra_ids
  return says


def load(
  given: str | Vocabulary | None,
  folders: Sequence[str],
  says: Mapping[str, Any],
  vocab_size: int,
) -> Vocabulary:
  """Finds a vocabulary, and reads it.

  Args:
    given: by the user: a path, or a vocabulary; None looks for one.
    folders: to look into, in order.
    says: what these say: `extra_ids`, and `vocabulary`, a file beside the
      package's folder.
    vocab_size: rows of the network's embedding.

  Raises:
    UserError: if there is none.
  """
  if given is not None and not isinstance(given, str):
    return given
  path = given or _find(folders, says)
  if path is None:
    has = lambda name: any(
      buckets.exists(posixpath.join(folder, name)) for folder in folders
    )
    hint = ' (a tokenizer.json alone is not read)' * has('tokenizer.json')
    raise UserError(
      f'There is no {VOCABULARY} in {" or ".join(folders)}{hint}. {_HOW}'
    )
  if not buckets.exists(path):
    raise UserError(f'vocabulary = {given!r} is no file. {_HOW}')
  extra_ids = says.get('extra_ids')
  if extra_ids is None:
    size = SentencePiece(path).size
    extra_ids = _T5_SENTINELS if size + _T5_SENTINELS <= vocab_size else 0
  return SentencePiece(path, extra_ids)


def model_in(folder: str) -> bytes | None:
  """The SentencePiece model of a base's or adapters' folder, if it has one."""
  return buckets.read(posixpath.join(folder, VOCABULARY))


def _find(folders: Sequence[str], says: Mapping[str, Any]) -> str | None:
  name = VOCABULARY
  paths = [posixpath.join(folder, name) for folder in folders]
  if 'vocabulary' in says:
    package = epath.Path(str(importlib.resources.files('moe_lite')))
    paths.append(str(package.parent / says['vocabulary']))
  return next(filter(buckets.exists, paths), None)
