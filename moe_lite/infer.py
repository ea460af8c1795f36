"""Writes predictions: `python -m moe_lite.infer --gin_file=... --gin.X=...`.

See gin/runs/infer.gin.
"""

from moe_lite import cli

if __name__ == '__main__':
  cli.run('inference.infer', 'runs/infer.gin')
