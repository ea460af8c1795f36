"""Seeded draws."""

import torch


def draw(seed: int, *shape: int, scale: float = 1.0) -> torch.Tensor:
  """A normal draw of its own seed."""
  generator = torch.Generator().manual_seed(seed)
  return scale * torch.randn(*shape, generator=generator)
