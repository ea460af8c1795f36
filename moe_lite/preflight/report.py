"""What preflight says of a program on a slice."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import jax

from moe_lite.core import memory
from moe_lite.preflight import flops, hlo
from moe_lite.preflight.chips import Topology
from moe_lite.preflight.programs import Program

GB = 10**9


@dataclasses.dataclass(frozen=True)
class Report:
  """The compiler's reckoning of one program.

  Bytes are those on one chip. None stands for what is not known: without
  libtpu, or of a program that did not compile.

  Attributes:
    program: 'train step', 'encode' or 'score'.
    topology: 'v5e:4x4'.
    accelerator_type: what gcloud calls it.
    chips: how many.
    mesh: (data, model).
    rows: of a batch, over all chips.
    fits: whether the compiler found room.
    hbm: bytes that a chip has; as the compiler counts them, if it said so.
    bytes: 'base', 'trainable', 'optimizer', 'batch', 'activations', 'outputs',
      'code' and 'total'.
    flops: of matmuls, of all chips.
    least_flops: those that cannot be saved; see `flops`.
    bytes_moved: to and from a chip's memory.
    collectives: kind to how many, and the bytes that a chip gives to them.
    least_seconds: no execution is quicker than this: the longest of operations,
      memory and links at their published peaks.
    compile_seconds: how long the compiler took.
    compile_cpu_seconds: the same, of processors: what other work on the
      machine does not lengthen.
    problem: why it does not fit.
    settings: gin macros that a sweep chose.
  """

  program: str
  topology: str
  accelerator_type: str
  chips: int
  mesh: tuple[int, int]
  rows: int
  tokens: int
  fits: bool
  hbm: int
  bytes: Mapping[str, int | None]
  flops: int
  least_flops: int
  bytes_moved: int | None = None
  collectives: Mapping[str, tuple[int, int]] | None = None
  least_seconds: float | None = None
  compile_seconds: float | None = None
  compile_cpu_seconds: float | None = None
  problem: str | None = None
  settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  @property
  def tokens_per_second(self) -> float | None:
    """Positions, of inputs and targets, in `least_seconds`."""
    return self.tokens / self.least_seconds if self.least_seconds else None

  @property
  def chip_seconds(self) -> float | None:
    """Of a row, at least: what a sweep takes for cost."""
    if not self.least_seconds:
      return None
    return self.chips * self.least_seconds / self.rows


def report(program: Program, topology: Topology, has_compiler: bool) -> Report:
  """Compiles a program and reads what the compiler says.

  Args:
    program: for the devices of `topology`, or for fake ones.
    topology: the slice.
    has_compiler: whether those are the slice's own devices.
  """
  parts = {k: memory.on_a_device(v) for k, v in program.parts.items()}
  chip = topology.chip
  count = flops.of_matmuls(program.function, *program.arguments)
  known: dict[str, Any] = {
    'program': program.name,
    'topology': topology.name,
    'accelerator_type': topology.accelerator_type,
    'chips': topology.chips,
    'mesh': program.mesh,
    'rows': program.rows,
    'tokens': program.tokens,
    'flops': count,
    'least_flops': program.least_flops,
  }
  start, start_cpu = time.monotonic(), time.process_time()
  try:
    memory.check_arguments(program.arguments, chip.hbm)
    # What a CPU's program takes besides says nothing of the chip.
    limit = chip.hbm if has_compiler else None
    compiled = memory.compile_within(program.compile, program.arguments, limit)
  except memory.DoesNotFit as problem:
    return Report(
      **known,
      fits=False,
      hbm=problem.available or chip.hbm,
      bytes={**parts, 'total': problem.wanted},
      compile_seconds=time.monotonic() - start,
      problem=str(problem),
    )
  seconds = time.monotonic() - start
  cpu_seconds = time.process_time() - start_cpu
  text = hlo.parse(compiled.as_text())
  collectives = text.collectives()
  links = sum(given for _, given in collectives.values())
  usage = memory.usage(compiled)
  bytes_: dict[str, int | None] = {**parts, 'total': sum(parts.values())}
  bytes_moved = None
  times = [count / topology.chips / chip.flops, links / chip.links]
  if has_compiler:
    # Padding to tiles makes arguments larger than their shapes say.
    bytes_ |= {
      'padding': max(0, usage.arguments - sum(parts.values())),
      'activations': usage.temporaries,
      'outputs': usage.outputs,
      'code': usage.code,
      'total': usage.total,
    }
    bytes_moved = text.bytes_moved()
    times.append(bytes_moved / chip.bandwidth)
  return Report(
    **known,
    fits=True,
    hbm=chip.hbm,
    bytes=bytes_,
    bytes_moved=bytes_moved,
    collectives=collectives,
    least_seconds=max(times),
    compile_seconds=seconds,
    compile_cpu_seconds=cpu_seconds,
  )


def as_text(report: Report) -> str:
  """A report for people."""
  r = report
  lines = [
    f'{r.program} on {r.topology} ({r.accelerator_type}), {r.chips} chips, '
    f'mesh (data, model) = {r.mesh}, {r.rows} rows',
  ]
  if r.settings:
    chosen = (f'--gin.{k}={v!r}' for k, v in r.settings.items())
    lines.append(f'  with {" ".join(chosen)}')
  for name, size in r.bytes.items():
    if name != 'total' and size is not None:
      lines.append(f'  {name:12} {size / memory.GIB:9.3f} GiB a chip')
  total = r.bytes['total']
  verdict = 'fits' if r.fits else f'DOES NOT FIT: {r.problem}'
  if total is not None:
    verdict = (
      f'{total / memory.GIB:9.3f} GiB of {r.hbm / memory.GIB:.2f}: {verdict}'
    )
  lines.append(f'  {"total":12} {verdict}')
  lines.append(
    f'  operations   {r.flops / 1e12:9.3f} TFLOP, '
    f'{r.flops / r.least_flops:.3f} x the least ({r.least_flops / 1e12:.3f})'
  )
  if r.bytes_moved is not None:
    lines.append(f'  moved        {r.bytes_moved / GB:9.3f} GB a chip')
  for kind, (count, given) in (r.collectives or {}).items():
    lines.append(f'  {kind:19} {count} times, {given / 1e6:,.3f} MB a chip')
  if r.least_seconds:
    lines.append(
      f'  at least     {1000 * r.least_seconds:9.2f} ms, at most '
      f'{r.tokens_per_second:,.0f} tokens/s'
    )
  if r.compile_seconds is not None:
    lines.append(f'  compiled in  {r.compile_seconds:9.1f} s')
  return '\n'.join(lines)


def as_json(report: Report) -> dict[str, Any]:
  """A report for programs."""
  return {
    **dataclasses.asdict(report),
    'flops_over_least': report.flops / report.least_flops,
    'tokens_per_second': report.tokens_per_second,
    'jax': jax.__version__,
  }
