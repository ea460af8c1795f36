"""Runs T5X's loop on our networks: `python -m moe_lite.t5x train|eval|infer`.

gin/t5x/ says what can be configured.
"""

from moe_lite.process import start

if __name__ == '__main__':
  start.run('moe_lite.integrations.t5x_command')
