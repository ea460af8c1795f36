"""What is made of the experts of a library, and how it is written."""

from typing import Any

import jax

from moe_lite.adapters.merged import Merging
from moe_lite.checkpoints import exported, initial_adapters, library
from moe_lite.checkpoints.description import Description
from moe_lite.core import parameters
from moe_lite.core.types import Tree
from moe_lite.inference.vocabulary import model_in
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.t5.config import T5Config
from moe_lite.t5.network import Transformer


def leaves(
  path: str,
  experts: Tree,
  there: T5Config,
  network: T5Config,
  merging: Merging | None = None,
) -> Tree:
  """Makes the adapters of a network of the experts of a library.

  Args:
    path: the folder of the library, for messages.
    experts: the experts, as `library.read` gives them.
    there: the network that they are of.
    network: the network that is to have the adapters.
    merging: how experts become one, if they do.

  Raises:
    UserError: if the experts lack what the network needs.
  """
  model = EncoderDecoderModel(Transformer(network))
  wanted = jax.eval_shape(
    parameters.unstack_layers, model.abstract_variables()['params']
  )
  return parameters.unflatten(
    initial_adapters.begun(path, experts, there, network, wanted, merging)
  )


def save(values: Any, source: str, made: Tree, said: Description) -> None:
  """Writes what was made as exported adapters, with the library's vocabulary.

  Args:
    values: the flags of the verb.
    source: the folder of the library.
    made: the leaves, layers apart.
    said: what they say of themselves.
  """
  first = library.chosen(source, None)[0]
  exported.save(
    values.to,
    made,
    said,
    said.training or {},
    model_in(library.folder_of(source, first)),
    said.text,
    overwrite=values.overwrite,
  )
