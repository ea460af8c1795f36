"""The adapters that a run begins with, on its mesh: taken, or drawn."""

import re

import jax
import numpy as np

from moe_lite.adapters.merged import Merging
from moe_lite.checkpoints import initial_adapters
from moe_lite.checkpoints.initial_adapters import InitialAdapters
from moe_lite.core import parameters, partitioning
from moe_lite.core.types import Tree
from moe_lite.models.layout import Layout
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.training import train_step


def read(
  source: str | None,
  model: EncoderDecoderModel,
  noise: float,
  seed: int,
  merging: Merging | None = None,
) -> InitialAdapters | None:
  """Reads the adapters to begin with; None if all of them are drawn.

  Args:
    source: where they are; see `initial_adapters.read`, which says what the
      other arguments and the errors are.
    model: the model, with the adapters of this run.
    noise: relative to each number, what is added to copies of an expert.
    seed: the seed of the run.
    merging: how one expert is made of several.
  """
  wanted = jax.eval_shape(
    parameters.unstack_layers, model.abstract_variables()['params']
  )
  return initial_adapters.read(
    source, model.module.config, wanted, noise, seed, merging
  )


def place(
  taken: InitialAdapters | None,
  model: EncoderDecoderModel,
  where: Layout,
  trainable: str,
  seed: int,
) -> tuple[Tree, Tree]:
  """Puts adapters on the mesh, in the network's form.

  Args:
    taken: the adapters to begin with, if any.
    model: the model.
    where: the layout of the parameters on the mesh.
    trainable: the pattern of what trains.
    seed: the seed of the run, which draws what is not taken.

  Returns:
    Those that are taken and train; and all that do not train.
  """
  is_trainable = re.compile(trainable).fullmatch
  places = {
    path: leaf
    for path, leaf in parameters.flatten(where.hold('float32')).items()
    if parameters.is_adapter(path)
  }
  values = {}
  if taken is not None:
    form = parameters.like_network(
      parameters.unflatten(dict(taken.leaves)), model.module.config.scan_layers
    )
    values = {
      path: partitioning.put(np.asarray(leaf), places[path].format)
      for path, leaf in parameters.flatten(form).items()
    }
  fixed = {x: leaf for x, leaf in places.items() if not is_trainable(x)}
  missing = {x: leaf for x, leaf in fixed.items() if x not in values}
  if missing:
    drawn = train_step.draw(model, parameters.unflatten(missing), seed)
    values = {**values, **parameters.flatten(drawn)}
  return (
    parameters.unflatten({x: y for x, y in values.items() if x not in fixed}),
    parameters.unflatten({x: values[x] for x in fixed}),
  )
