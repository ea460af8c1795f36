"""A program that a run would compile, before it is compiled."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Program:
  """One program: what it does, what it takes, and what it needs at least.

  Attributes:
    name: 'train step', 'encode', 'score' or 'generate'; 'validation: encode'
      and 'validation: score' belong to a training.
    function: the function, which is traced to count its operations.
    arguments: the shapes of its arguments, and their places on the mesh.
    compile: compiles the function, and returns the executable.
    parts: what the arguments hold: 'base', 'trainable', 'optimizer', 'batch'.
    least_flops: the operations that cannot be saved, over all rows.
    rows: the rows of a batch.
    tokens: the positions of a batch, of inputs and targets.
    mesh: (data, model).
    loops: how often its `while_loop` runs, if it has one.
    held: what else lies in memory while it runs, as `parts`.
  """

  name: str
  function: Callable[..., Any]
  arguments: tuple[Any, ...]
  compile: Callable[[], Any]
  parts: Mapping[str, Any]
  least_flops: int
  rows: int
  tokens: int
  mesh: tuple[int, int]
  loops: int = 1
  held: Mapping[str, Any] = dataclasses.field(default_factory=dict)
