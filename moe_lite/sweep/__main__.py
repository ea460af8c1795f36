"""Runs an ablation: `python -m moe_lite.sweep`."""

from moe_lite.process import start

if __name__ == '__main__':
  start.run('moe_lite.sweep.command')
