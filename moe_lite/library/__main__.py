"""Works on a library of experts: `python -m moe_lite.library`."""

from moe_lite.process import start

if __name__ == '__main__':
  start.run('moe_lite.library.command')
