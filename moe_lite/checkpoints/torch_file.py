"""The file that is exported with adapters, for those who have torch alone."""

import importlib.resources
from collections.abc import Iterable, Mapping
from typing import Any

from moe_lite.core import parameters

TORCH = 'torch_adapters.py'
# The adapters and routers that it knows, and the fields of those routers.
IN_TORCH = {'IA3', 'LoRA', 'MoV', 'MoLoRA', 'SoftRouter', 'TopKRouter'}
_ROUTER_IN_TORCH = {'type', 'num_experts', 'jitter', 'k', 'renormalize'}


def contents() -> str:
  """The text of the file."""
  # It is read, and not imported, because it needs torch.
  package = importlib.resources.files('moe_lite.checkpoints')
  return (package / TORCH).read_text(encoding='utf-8')


def serves(paths: Iterable[str], network: Mapping[str, Any]) -> bool:
  """Whether the file can put what was trained on Hugging Face's T5.

  Args:
    paths: the paths of what was trained, which must be adapters alone.
    network: what `t5.description.to_json` gave; all adapters and routers in it
      must be of types that the file knows.
  """
  types = set()
  for described in network['adapters'].values():
    types.add(described['type'])
    if described.get('averages'):
      return False
    if 'router' in described:
      router = described['router']
      if not isinstance(router, Mapping):
        types.add(router)
        continue
      types.add(router['type'])
      if not router.keys() <= _ROUTER_IN_TORCH:
        return False
  return types <= IN_TORCH and all(map(parameters.is_adapter, paths))
