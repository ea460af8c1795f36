"""Writes predictions: `python -m moe_lite.infer --gin_file=... --gin.X=...`.

See gin/runs/infer.gin.
"""

from moe_lite.process import start

if __name__ == '__main__':
  start.run_gin('inference.infer', 'runs/infer.gin')
