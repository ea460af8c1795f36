"""Converts checkpoints: `python -m moe_lite.convert`."""

from moe_lite.process import start

if __name__ == '__main__':
  start.run('moe_lite.convert.command')
