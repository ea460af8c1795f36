"""A trained model in a notebook: texts in, texts and numbers out.

>>> import moe_lite
>>> model = moe_lite.load('mini', adapters='exported')
>>> answers = model.generate(['Is a robin a bird?', 'Who has the key?'])
>>> scores = model.score('Is a robin a bird? Yes or no?', ['yes', 'no'])
>>> routing = model.routing('Is a robin a bird?')

Neither TensorFlow nor SeqIO is imported. See `text_model` for what a model can
do.
"""

import dataclasses
import os
from collections.abc import Mapping

from moe_lite.checkpoints import bases, exported, formats
from moe_lite.checkpoints.description import Description
from moe_lite.core import parameters, partitioning
from moe_lite.core.errors import UserError
from moe_lite.inference.named_adapters import DEFAULT
from moe_lite.inference.source import BASE, ModelSource
from moe_lite.inference.text_model import TextModel
from moe_lite.inference.vocabulary import Text, Vocabulary, find_vocabulary
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.t5 import description
from moe_lite.t5.network import Transformer

# A network with more layers than this scans over them, so that the time to
# compile it does not grow with their number. Fewer layers run faster unrolled.
UNROLLED_LAYERS = 4


Path = str | os.PathLike[str]


def load(
  base: Path,
  adapters: Path | Mapping[str, Path] | None = None,
  *,
  vocabulary: str | Vocabulary | None = None,
  inputs_eos: bool | None = None,
  dtype: str = 'float32',
  base_dtype: str | None = None,
  batch_size: int = 16,
  max_input_length: int = 512,
  step: int | None = None,
  mesh: partitioning.MeshShape = None,
) -> TextModel:
  """Loads a base, and adapters that were trained on it.

  Args:
    base: the name of a base that ships with the package ('mini'), a path, or a
      model of Hugging Face's hub ('hf://google/flan-t5-base'). The prefix may
      be left out where no folder 'google' is here. See `bases.load_base`.
    adapters: a folder that `python -m moe_lite.convert export` wrote, its
      address on the hub ('hf://ORGANISATION/NAME', or with a revision
      'hf://ORGANISATION/NAME@REVISION'), or the MODEL_DIR of a run. A mapping
      of names to such places loads several, the first of which is in use; see
      `TextModel.set_adapter`. None loads the base alone.
    vocabulary: the path of a SentencePiece model, or an object with `encode`
      and `decode`. None looks for `spiece.model`, first in the folder of the
      adapters and then in that of the base. A base that ships brings its own.
    inputs_eos: whether inputs end with EOS; targets always do. None takes what
      the adapters, or else the base, say of it: a base in Hugging Face's form
      says that they do. Where nothing is said, inputs do not end with EOS.
    dtype: the type of activations, 'float32' or 'bfloat16'.
    base_dtype: the type in which the base is held, which may also be 'int8';
      None takes `dtype`.
    batch_size: the greatest number of texts that are run at once.
    max_input_length: the greatest number of ids of an input. Longer inputs are
      trimmed, with a warning.
    step: the step of a run's checkpoint; None takes the last one. Of several
      adapters it is that of the first.
    mesh: see `ModelSource`.

  Raises:
    UserError: if something is missing, or does not belong together.
  """
  base = _place('base', base)
  name, others = DEFAULT, {}
  if isinstance(adapters, Mapping):
    if not adapters:
      raise UserError('adapters = {}: give {NAME: PLACE}, or leave it out.')
    (name, adapters), *rest = adapters.items()
    others = dict(rest)
  folders = [formats.local(base)]
  says = bases.text(base)
  trainable = parameters.TRAINABLE_ADAPTERS
  if adapters is not None:
    adapters = _place('adapters', adapters)
    folders.insert(0, exported.local(adapters))
    described = _describe(adapters, folders[0], step)
    trainable = described.method.trainable
    config = description.from_json(described.network_of(adapters))
    # Adapters that do not say whether inputs end with EOS were trained on a
    # task of this package, whose inputs do not, whatever the base says.
    says = {**says, 'inputs_eos': False, **(described.text or {})}
  else:
    config = bases.network(folders[0])
  if inputs_eos is None:
    inputs_eos = bool(says.get('inputs_eos', False))
  found = find_vocabulary(vocabulary, folders, says, config.vocab_size)
  text = Text(found, config.vocab_size, inputs_eos)
  layers = max(config.num_encoder_layers, config.num_decoder_layers)
  config = dataclasses.replace(
    config, dtype=dtype, scan_layers=layers > UNROLLED_LAYERS
  )
  source = ModelSource(
    EncoderDecoderModel(Transformer(config)),
    BASE if adapters is None else _path(folders[0]),
    base,
    trainable,
    base_dtype or config.dtype.name,
    mesh,
    step,
  )
  model = TextModel(source.load(), text, batch_size, max_input_length, name)
  for other, place in others.items():
    model.load_adapter(_place('adapters', place), other)
  return model


def _place(name: str, given: object) -> str:
  """The path or address that an argument gives, as a text."""
  if not isinstance(given, str | os.PathLike):
    more = ' For several adapters, give a mapping of names to such places.'
    raise UserError(
      f'{name} is a {type(given).__name__}, and must be a path, or the address '
      f'of a model on the hub.{more if name == "adapters" else ""}'
    )
  return os.fspath(given)


def _describe(adapters: str, folder: str, step: int | None) -> Description:
  """Reads what adapters say of themselves."""
  found = formats.find(folder)
  described = None if found is None else found.describe(folder, step)
  if found is None or described is None:
    raise UserError(
      f'adapters = {adapters!r}: there are none. Give a folder that `python -m '
      'moe_lite.convert export` wrote, its address on the hub '
      '(hf://ORGANISATION/NAME), or the MODEL_DIR of a run.'
    )
  return described


def _path(folder: str) -> str:
  """A path that `ModelSource` does not take for the base alone."""
  return f'./{folder}' if folder == BASE else folder
