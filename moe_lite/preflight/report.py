"""What the compiler says of a program on a slice."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import jax

from moe_lite.core import memory
from moe_lite.preflight import flops, hlo, traffic
from moe_lite.preflight.chips import Slice
from moe_lite.preflight.program import Program
from moe_lite.process import shell

GB = 10**9


@dataclasses.dataclass(frozen=True)
class Report:
  """The compiler's reckoning of one program.

  All bytes are those of one chip. None stands for what is not known, because
  libtpu is missing or because the program did not compile.

  Attributes:
    program: the name of the program; see `Program`.
    topology: the name of the slice, such as 'v5e:4x4'.
    accelerator_type: what gcloud calls the slice.
    chips: the number of chips.
    mesh: (data, model).
    rows: the rows of a batch, over all chips.
    tokens: the positions of a batch, over all chips.
    fits: whether the compiler found room.
    hbm: the bytes of memory, as the compiler counts them if it said so.
    bytes: the bytes of 'base', 'trainable', 'optimizer', 'batch',
      'activations', 'outputs', 'code' and 'total'.
    flops: the operations of matmuls, of all chips together.
    int8_flops: those of them that multiply int8 numbers.
    least_flops: the operations that no program can save; see `flops`.
    bytes_moved: the bytes that go to and from memory.
    collectives: each kind to how often it runs, and the bytes given to it.
    least_seconds: a time that no execution can beat. It is the longest of the
      times that operations, memory and links take at their published peaks.
    compile_seconds: the time that the compiler took.
    compile_cpu_seconds: the processor time that the compiler took, which other
      work on the machine does not lengthen.
    problem: why the program does not fit.
    settings: the gin macros that a sweep chose.
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
  int8_flops: int = 0
  bytes_moved: int | None = None
  collectives: Mapping[str, tuple[int, int]] | None = None
  least_seconds: float | None = None
  compile_seconds: float | None = None
  compile_cpu_seconds: float | None = None
  problem: str | None = None
  settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  @property
  def tokens_per_second(self) -> float | None:
    """The most positions of inputs and targets that a second can take."""
    return self.tokens / self.least_seconds if self.least_seconds else None

  @property
  def chip_seconds(self) -> float | None:
    """The least that a row costs; a sweep looks for the cheapest."""
    if not self.least_seconds:
      return None
    return self.chips * self.least_seconds / self.rows


def report(program: Program, on: Slice) -> Report:
  """Compiles a program and reads what the compiler says.

  Args:
    program: the program, made for the devices of the slice.
    on: the slice.
  """
  arguments = {k: memory.on_a_device(v) for k, v in program.parts.items()}
  held = {k: memory.on_a_device(v) for k, v in program.held.items()}
  parts = {**arguments, **held}
  topology, chip = on.topology, on.topology.chip
  count, in_int8 = (
    flops.of_matmuls(
      program.function,
      *program.arguments,
      loops=program.loops,
      only_int8=only_int8,
    )
    for only_int8 in (False, True)
  )
  known: dict[str, Any] = {
    'program': program.name,
    'topology': topology.name,
    'accelerator_type': topology.accelerator_type,
    'chips': topology.chips,
    'mesh': program.mesh,
    'rows': program.rows,
    'tokens': program.tokens,
    'flops': count,
    'int8_flops': in_int8,
    'least_flops': program.least_flops,
  }
  start, start_cpu = time.monotonic(), time.process_time()
  try:
    memory.check_arguments(program.arguments, chip.hbm)
    # Beyond its arguments, what a CPU's program takes says nothing of the chip.
    limit = chip.hbm if on.is_real else None
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
  collectives = traffic.collectives(text)
  links = sum(given for _, given in collectives.values())
  usage = memory.usage(compiled)
  bytes_: dict[str, int | None] = dict(parts)
  total = sum(parts.values())
  bytes_moved = None
  # As many bfloat16 operations would take the same time.
  alike = count - in_int8 + in_int8 / chip.int8
  times = [alike / topology.chips / chip.flops, links / chip.links]
  if on.is_real:
    # The chip pads arguments to tiles, beyond what their shapes say.
    bytes_ |= {
      'padding': max(0, usage.arguments - sum(arguments.values())),
      'activations': usage.temporaries,
      'outputs': usage.outputs,
      'code': usage.code,
    }
    # Parameters that a program does not read lie there nevertheless.
    unread = max(0, sum(arguments.values()) - usage.arguments)
    total = usage.total + unread + sum(held.values())
    bytes_moved = traffic.bytes_moved(text)
    times.append(bytes_moved / chip.bandwidth)
  problem = None
  if on.is_real and total > chip.hbm:
    others = ', '.join(program.held)
    problem = f'the program fits alone, but not beside {others or "the rest"}.'
  return Report(
    **known,
    fits=problem is None,
    problem=problem,
    hbm=chip.hbm,
    bytes={**bytes_, 'total': total},
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
    chosen = shell.line(f'--gin.{k}={v!r}' for k, v in r.settings.items())
    lines.append(f'  with {chosen}')
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
  if r.int8_flops:
    lines.append(f'  of them int8 {r.int8_flops / 1e12:9.3f} TFLOP')
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
