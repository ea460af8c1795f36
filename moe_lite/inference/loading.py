"""A trained model in a notebook: texts in, texts and numbers out.

>>> import moe_lite
>>> model = moe_lite.load('mini', adapters='exported')
>>> answers = model.generate(['Is a robin a bird?', 'Who has the key?'])
>>> scores = model.score('Is a robin a bird? Yes or no?', ['yes', 'no'])
>>> routing = model.routing('Is a robin a bird?')

Neither TensorFlow nor SeqIO is imported. `text_model` says what a model does.
"""

import dataclasses
import os

from moe_lite.checkpoints import bases, exported, formats
from moe_lite.checkpoints.description import Description
from moe_lite.core import parameters, partitioning
from moe_lite.core.errors import UserError
from moe_lite.inference import text_model
from moe_lite.inference import vocabulary as vocabularies
from moe_lite.inference.source import BASE, ModelSource
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.t5 import description
from moe_lite.t5.config import T5Config
from moe_lite.t5.network import Transformer

# Networks deeper than this scan over their layers, which compile in a time that
# does not grow with them; few layers run faster one by one.
UNROLLED_LAYERS = 4


def load(
  base: str | os.PathLike[str],
  adapters: str | os.PathLike[str] | None = None,
  *,
  vocabulary: str | vocabularies.Vocabulary | None = None,
  inputs_eos: bool | None = None,
  dtype: str = 'float32',
  base_dtype: str | None = None,
  batch_size: int = 16,
  max_input_length: int = 512,
  step: int | None = None,
  mesh: partitioning.MeshShape = None,
) -> text_model.TextModel:
  """Loads a base, and adapters that were trained on it.

  Args:
    base: the name of one that ships ('mini'), a path, or a model of Hugging
      Face's hub ('hf://google/flan-t5-base'); see `checkpoints.base.load_base`.
    adapters: a folder that `python -m moe_lite.convert export` wrote, its
      address on the hub ('hf://ORGANISATION/NAME', '@REVISION' behind it), or
      the MODEL_DIR of a run; None for the base alone.
    vocabulary: the path of a SentencePiece model, or an object with encode and
      decode; None for the `spiece.model` in the adapters' folder, then in the
      base's, then that of the base that ships.
    inputs_eos: whether inputs end with EOS; None for what the adapters or the
      base say, then for how they were trained: T5 as Hugging Face has it with
      EOS, the tasks of this package without. Targets always end with it.
    dtype: of activations, 'float32' or 'bfloat16'.
    base_dtype: that the base is held in, also 'int8'; None for `dtype`.
    batch_size: texts that are run at once, at most.
    max_input_length: in ids; what is longer is trimmed, with a warning.
    step: of a run's checkpoint; None for the last.
    mesh: (data, model), 'auto', or None: every device on data.

  Raises:
    UserError: if something is missing, or does not belong together.
  """
  base = os.fspath(base)
  folders = [formats.local(base)]
  says = bases.text(base)
  trainable = parameters.TRAINABLE_ADAPTERS
  if adapters is not None:
    adapters = os.fspath(adapters)
    folders.insert(0, exported.local(adapters))
    described = _describe(adapters, folders[0], step)
    trainable = described.method.trainable
    config = _network_of(adapters, described)
    # A run that says nothing of it was trained on a task of ours, without.
    says = {**says, 'inputs_eos': False, **(described.text or {})}
  else:
    config = bases.network(folders[0])
  if inputs_eos is None:
    inputs_eos = bool(says.get('inputs_eos', False))
  words = vocabularies.load(vocabulary, folders, says, config.vocab_size)
  text = vocabularies.Text(words, config.vocab_size, inputs_eos)
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
  return text_model.TextModel(source.load(), text, batch_size, max_input_length)


def _describe(adapters: str, folder: str, step: int | None) -> Description:
  """What adapters say of themselves."""
  found = formats.find(folder)
  described = None if found is None else found.describe(folder, step)
  if found is None or described is None:
    raise UserError(
      f'adapters = {adapters!r}: there are none. Give a folder that `python -m '
      'moe_lite.convert export` wrote, its address on the hub '
      '(hf://ORGANISATION/NAME), or the MODEL_DIR of a run.'
    )
  if step is not None and not found.has_steps:
    raise UserError(f'step = {step} is of a run, and {adapters!r} is none.')
  return described


def _network_of(adapters: str, described: Description) -> T5Config:
  """The network that adapters say they are of."""
  network = described.method.network
  if network is None:
    raise UserError(
      f'{adapters} does not say of which network it is: it is of an older '
      'moe_lite. Export it first: python -m moe_lite.convert export '
      f'{adapters} --to=DIR'
    )
  return description.from_json(network)


def _path(folder: str) -> str:
  """A path that `ModelSource` does not take for the base alone."""
  return f'./{folder}' if folder == BASE else folder
