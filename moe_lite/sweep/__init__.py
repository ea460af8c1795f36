"""Ablations: a grid of configurations and seeds, run and laid side by side.

A thing belongs here if it is about many runs.
"""

from moe_lite.sweep.grid import Grid

__all__ = ['Grid']
