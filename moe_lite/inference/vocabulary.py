"""Text to ids and back, without SeqIO: the `sentencepiece` package alone.

The ids equal those that `seqio.SentencePieceVocabulary` gives with the same
model, and so do the ids of sentinels.
"""

import importlib.resources
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from etils import epath

from moe_lite.checkpoints import buckets
from moe_lite.checkpoints.hugging_face.file_names import VOCABULARY
from moe_lite.core.errors import UserError, some
from moe_lite.models import decoding

# The number of sentinels that T5 has beyond the pieces of its model.
_T5_SENTINELS = 100
_HOW = (
  "Give vocabulary='...', the path of a SentencePiece model, or an object with "
  'encode and decode, such as transformers.AutoTokenizer.from_pretrained(...).'
)


class Vocabulary(Protocol):
  """What serves as a vocabulary, such as one of SeqIO's or a tokenizer."""

  def encode(self, text: str, /) -> Sequence[int]: ...

  def decode(self, ids: Any, /) -> str: ...


class SentencePiece:
  """A SentencePiece model, and the sentinels of span corruption.

  '<extra_id_0>' is the last id, '<extra_id_1>' the one before it, and so on.
  """

  def __init__(self, path: str, extra_ids: int = 0):
    """Reads a model.

    Args:
      path: the file of the model.
      extra_ids: the number of sentinels that come after its pieces.

    Raises:
      UserError: if the file is not a SentencePiece model.
    """
    # Imported here, because who brings another vocabulary does not need it.
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    # Protobuf makes this class while its module is imported.
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
    except Exception as error:  # Protobuf's errors have no common class.
      raise UserError(
        f'{path} is not a SentencePiece model: {error}. {_HOW}'
      ) from error

  @property
  def size(self) -> int:
    """The number of ids."""
    return self._model.get_piece_size()

  def encode(self, text: str) -> list[int]:
    return self._model.encode(text)

  def decode(self, ids: Iterable[int]) -> str:
    unknown, size = self._model.unk_id(), self.size
    # A network may write ids that its vocabulary does not have.
    return self._model.decode([int(i) if i < size else unknown for i in ids])

  def piece(self, id: int) -> str:
    """The piece of an id; in it '▁' stands for the space before a word."""
    return self._model.id_to_piece(id) if id < self.size else f'<{id}>'


class Bytes:
  """The bytes of a text as ids, as ByT5 has them (arXiv 2105.13626).

  The ids 0 to 2 are padding, EOS and unknown, and byte b has the id b + 3. What
  comes behind the bytes are sentinels, which stand for no text.
  """

  size = 256 + 3

  def encode(self, text: str) -> list[int]:
    return [byte + 3 for byte in text.encode()]

  def decode(self, ids: Iterable[int]) -> str:
    found = bytes(int(i) - 3 for i in ids if 3 <= int(i) < self.size)
    return found.decode(errors='ignore')

  def piece(self, id: int) -> str:
    """What an id stands for by itself; half a letter is written as its byte."""
    if not 3 <= id < self.size:
      return f'<{id}>'
    byte = id - 3
    return chr(byte) if 32 <= byte < 127 else f'<0x{byte:02X}>'


class Text:
  """How a network reads and writes text: its vocabulary, and where EOS stands.

  Attributes:
    vocabulary: the vocabulary.
    inputs_eos: whether inputs end with EOS, as targets do.
  """

  def __init__(self, vocabulary: Vocabulary, vocab_size: int, inputs_eos: bool):
    """Checks that a vocabulary fits a network.

    Args:
      vocabulary: the vocabulary.
      vocab_size: the number of rows of the network's embedding.
      inputs_eos: whether inputs end with EOS, as targets do.

    Raises:
      UserError: if the vocabulary lacks a method, or has more ids than the
        embedding has rows.
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
    """The ids of an input.

    Raises:
      UserError: if it is not a string, or holds no token.
    """
    ids = self._ids(text)
    if not ids:
      raise UserError(f'The input {text!r} is empty.')
    return [*ids, decoding.EOS_ID] if self.inputs_eos else ids

  def targets(self, text: str) -> list[int]:
    """The ids of a target, EOS included."""
    return [*self._ids(text), decoding.EOS_ID]

  def text(self, ids: Iterable[int]) -> str:
    """The text of ids."""
    return self.vocabulary.decode([int(i) for i in ids])

  def pieces(self, ids: Iterable[int]) -> list[str]:
    """The text that each id stands for by itself."""
    piece = getattr(self.vocabulary, 'piece', None)
    if piece is None:
      piece = lambda i: self.vocabulary.decode([i])
    return ['</s>' if i == decoding.EOS_ID else piece(int(i)) for i in ids]

  def _ids(self, text: str) -> list[int]:
    if not isinstance(text, str):
      raise UserError(f'{text!r} is not a text: give a string.')
    ids = [int(i) for i in self.vocabulary.encode(text)]
    if ids[-1:] == [decoding.EOS_ID]:  # Tokenizers of transformers add EOS.
      ids.pop()
    if ids and max(ids) >= self._vocab_size:
      raise UserError(
        f"{text!r} has the id {max(ids)}, and the network's embedding "
        f'{self._vocab_size} rows: the vocabulary is of another network. {_HOW}'
      )
    return ids


def describe(inputs: Any) -> dict[str, Any]:
  """What `loading.load` must know of SeqIO's feature of inputs, for JSON."""
  says = {'inputs_eos': bool(inputs.add_eos)}
  if hasattr(inputs.vocabulary, 'sentencepiece_model_file'):
    says['extra_ids'] = inputs.vocabulary.extra_ids
  return says


def find_vocabulary(
  given: str | Vocabulary | None,
  folders: Sequence[str],
  says: Mapping[str, Any],
  vocab_size: int,
) -> Vocabulary:
  """Finds a vocabulary, and reads it.

  Args:
    given: what the user gave: a path, or a vocabulary; None looks for one.
    folders: the folders to look into, in this order.
    says: what the folders say of text. `extra_ids` is the number of sentinels,
      `bytes` says that ids are bytes, `added_tokens` are in no file that is
      read, and `vocabulary` is the path of a file that ships, relative to the
      parent of the package's folder.
    vocab_size: the number of rows of the network's embedding.

  Raises:
    UserError: if there is no vocabulary.
  """
  if given is not None and not isinstance(given, str):
    return given
  if given is None and says.get('bytes'):
    return Bytes()
  path = given or _find(folders, says)
  if path is not None and given is None and (more := says.get('added_tokens')):
    raise UserError(
      f'The tokenizer has tokens that its {VOCABULARY} lacks: {some(more)}. '
      f'{_HOW}'
    )
  if path is None:
    has = lambda name: any(
      buckets.exists(posixpath.join(folder, name)) for folder in folders
    )
    hint = ' (a tokenizer.json alone is not read)' * has('tokenizer.json')
    raise UserError(
      f'There is no {VOCABULARY} in {" or ".join(folders)}{hint}. {_HOW}'
    )
  if not buckets.exists(path):
    raise UserError(f'vocabulary = {given!r} is not a file. {_HOW}')
  extra_ids = says.get('extra_ids')
  if extra_ids is None:
    size = SentencePiece(path).size
    extra_ids = _T5_SENTINELS if size + _T5_SENTINELS <= vocab_size else 0
  return SentencePiece(path, extra_ids)


def model_in(folder: str) -> bytes | None:
  """The SentencePiece model in the folder of a base or adapters, if any."""
  return buckets.read(posixpath.join(folder, VOCABULARY))


def _find(folders: Sequence[str], says: Mapping[str, Any]) -> str | None:
  name = VOCABULARY
  paths = [posixpath.join(folder, name) for folder in folders]
  if 'vocabulary' in says:
    package = epath.Path(str(importlib.resources.files('moe_lite')))
    paths.append(str(package.parent / says['vocabulary']))
  return next(filter(buckets.exists, paths), None)
