"""TPU chips and slices: what they have, and devices to compile for."""

import dataclasses
import importlib.util
import math
import re
from collections.abc import MutableMapping, Sequence
from typing import Any, Self

from moe_lite.core.errors import UserError, nearest

# With these variables libtpu compiles, and looks for no device.
_ENVIRONMENT = {
  'JAX_PLATFORMS': 'cpu',
  'TPU_SKIP_MDS_QUERY': '1',
  'TPU_ACCELERATOR_TYPE': 'v5litepod-16',
  'TPU_WORKER_HOSTNAMES': 'localhost',
  'TPU_WORKER_ID': '0',
  'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
}


@dataclasses.dataclass(frozen=True)
class Chip:
  """A generation of chips, by its published peaks (Google Cloud TPU pages).

  Attributes:
    hbm: the bytes of main memory.
    flops: the bfloat16 operations a second.
    int8: how many times as many int8 operations there are in a second.
    bandwidth: the bytes a second to and from main memory.
    links: the bytes a second that a chip can send to others.
    slices: the topologies that are on offer; libtpu compiles for others, too.
    accelerator: what gcloud calls a slice, by its number of chips or, up to
      v5p, of cores.
  """

  hbm: int
  flops: float
  int8: int
  bandwidth: float
  links: float
  slices: tuple[str, ...]
  accelerator: str


_FLAT = ('1x1', '2x2', '2x4', '4x4', '4x8', '8x8', '8x16', '16x16')
_CUBIC = ('2x2x1', '2x2x2', '2x2x4', '2x4x4', '4x4x4', '4x4x8', '4x8x8')
CHIPS = {
  'v4': Chip(32 * 2**30, 275e12, 1, 1.228e12, 300e9, _CUBIC, 'v4-{cores}'),
  'v5e': Chip(
    16 * 2**30, 197e12, 2, 0.819e12, 200e9, _FLAT, 'v5litepod-{chips}'
  ),
  'v5p': Chip(95 * 2**30, 459e12, 2, 2.765e12, 600e9, _CUBIC, 'v5p-{cores}'),
  'v6e': Chip(32 * 2**30, 918e12, 2, 1.638e12, 448e9, _FLAT, 'v6e-{chips}'),
}


@dataclasses.dataclass(frozen=True)
class Topology:
  """The shape of a slice.

  Attributes:
    name: such as 'v5e:4x4'.
    chip: what its chips are.
    bounds: how many chips it has along each dimension.
  """

  name: str
  chip: Chip
  bounds: tuple[int, ...]

  @property
  def chips(self) -> int:
    """The number of chips."""
    return math.prod(self.bounds)

  @property
  def accelerator_type(self) -> str:
    """What gcloud calls the slice."""
    return self.chip.accelerator.format(chips=self.chips, cores=2 * self.chips)

  def devices(self) -> list[Any]:
    """A device for each chip, to compile for; the chips need not be there.

    Raises:
      UserError: if libtpu does not know the slice.
    """
    from jax.experimental import topologies

    options: dict[str, Any] = {}
    bounds = (*self.bounds, 1, 1)[:3]
    if any(n % m for n, m in zip(bounds, (2, 2, 1), strict=True)):
      options['chips_per_host_bounds'] = bounds
    if self.name.startswith('v4'):
      options['chip_config_name'] = 'megacore'  # One device a chip.
    try:
      found = topologies.get_topology_desc(
        platform='tpu', topology_name=self.name, **options
      )
    except Exception as error:  # Jaxlib raises errors of several kinds.
      raise UserError(
        f'--topology={self.name}: libtpu does not know it: '
        f'{str(error).splitlines()[0]}\n{_known()}'
      ) from error
    return list(found.devices)


@dataclasses.dataclass(frozen=True)
class Slice:
  """A slice to compile for.

  Attributes:
    topology: its shape.
    devices: a device for each chip. Without the chips' compiler these are
      devices of the CPU.
    is_real: whether the devices are those of the chips.
  """

  topology: Topology
  devices: Sequence[Any]
  is_real: bool

  @classmethod
  def of(cls, topology: Topology) -> Self:
    """The slice of a shape, with what is installed; see `prepare`.

    Raises:
      UserError: if libtpu does not know the slice.
    """
    if has_compiler():
      return cls(topology, topology.devices(), True)
    import jax

    return cls(topology, jax.devices('cpu')[: topology.chips], False)


def topology(name: str) -> Topology:
  """Parses 'v5e:4x4'.

  Raises:
    UserError: if there is no such chip or slice; it lists those that are known.
  """
  kind, _, shape = name.partition(':')
  if kind not in CHIPS or not re.fullmatch(r'\d+(x\d+){1,2}', shape):
    known = [f'{k}:{s}' for k, chip in CHIPS.items() for s in chip.slices]
    raise UserError(
      f'--topology={name} is not a topology.{nearest(name, known)} {_known()}'
    )
  bounds = tuple(int(n) for n in shape.split('x'))
  dimensions = CHIPS[kind].slices[0].count('x') + 1
  if len(bounds) != dimensions or 0 in bounds:
    raise UserError(
      f'--topology={name}: {kind} slices have {dimensions} positive dimensions.'
      f' {_known()}'
    )
  return Topology(name, CHIPS[kind], bounds)


def has_compiler() -> bool:
  """Whether libtpu is installed."""
  return importlib.util.find_spec('libtpu') is not None


def prepare(environment: MutableMapping[str, str], devices: int) -> None:
  """Sets what must be set before jax looks for devices.

  Args:
    environment: the environment of the process.
    devices: how many devices the CPU is to have if there is no compiler.
  """
  environment.update(_ENVIRONMENT)
  if not has_compiler():
    flag = f'--xla_force_host_platform_device_count={devices}'
    flags = environment.get('XLA_FLAGS', '')
    environment['XLA_FLAGS'] = f'{flags} {flag}'.strip()


def _known() -> str:
  lines = [
    f'{kind}:{{{",".join(chip.slices)}}}' for kind, chip in CHIPS.items()
  ]
  return f'Known are {"; ".join(lines)}.'
