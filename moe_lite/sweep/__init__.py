"""Ablations: a grid of configurations and seeds, run and laid side by side."""

from moe_lite.sweeps.grid import Grid as Grid
