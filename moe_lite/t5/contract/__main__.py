"""Checks an adapter or a router: `python -m moe_lite.t5.contract`."""

from moe_lite.process import start

if __name__ == '__main__':
  start.run('moe_lite.t5.contract.command')
