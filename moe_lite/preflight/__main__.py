"""Compiles a run for a TPU slice: `python -m moe_lite.preflight`."""

from moe_lite.process import start

if __name__ == '__main__':
  start.run('moe_lite.preflight.command')
