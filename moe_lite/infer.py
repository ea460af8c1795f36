"""Writes predictions: `python -m moe_lite.infer --gin_file=... --gin.X=...`.

gin/runs/infer.gin says what can be configured.
"""

from moe_lite.process import start

if __name__ == '__main__':
  start.run_gin('inference.infer', 'runs/infer.gin')
