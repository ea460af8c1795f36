"""A model with its parameters on a mesh, ready to run."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from moe_lite.core import partitioning
from moe_lite.core.errors import UserError
from moe_lite.core.types import Tree
from moe_lite.inference.facts import Facts
from moe_lite.models.model import EncoderDecoderModel


@dataclasses.dataclass
class Trained:
  """A model with its parameters on a mesh.

  Attributes:
    model: the model; without adapters where it is the frozen base alone.
    params: all parameters, trained and frozen, in the network's form. Others of
      the same shapes and places may take their place. What is compiled then
      serves them.
    mesh: the mesh that they lie on.
    facts: what results say of the model.
    tasks: what the numbers of tasks stand for that its routers read; see
      `Description.tasks`. None if no router reads them.
  """

  model: EncoderDecoderModel
  params: Tree
  mesh: Mesh
  facts: Facts
  tasks: Mapping[str, Any] | None = None

  def compile(
    self, function: Callable[..., Any], gather: bool = True
  ) -> Callable[..., Any]:
    """Makes of `function(params, *args)` a compiled function of `args`.

    It is compiled anew for each shape of its arguments. NumPy arrays among
    them, which must be equal in every process, are split over the data axis of
    the mesh by their first axis; every device gets all of any other value.

    Args:
      function: what to compile.
      gather: whether every process gets the whole result; otherwise the first
        axis of the result stays split over the data axis.
    """
    split = partitioning.batch_sharding(self.mesh)
    whole = partitioning.replicated(self.mesh)
    jitted = jax.jit(function, out_shardings=whole if gather else split)

    def place(value: Any) -> Any:
      is_split = isinstance(value, np.ndarray)
      return partitioning.put(value, split) if is_split else value

    def call(*args: Any) -> Any:
      with partitioning.axis_rules(self.mesh):
        return jitted(self.params, *jax.tree.map(place, args))

    return call

  def check_batch(self, batch_size: int) -> None:
    """Checks that the mesh can split a batch.

    Raises:
      UserError: unless `batch_size` is a positive multiple of the data axis.
    """
    parts = self.mesh.shape['data']
    if batch_size < 1 or batch_size % parts:
      raise UserError(
        f'BATCH_SIZE = {batch_size} must be a positive multiple of the data '
        f'axis of the mesh, {parts}.'
      )
