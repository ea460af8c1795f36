"""Evaluates a run: `python -m moe_lite.eval --gin_file=... --gin.X=...`.

gin/runs/eval.gin says what can be configured.
"""

from moe_lite.process import start

if __name__ == '__main__':
  start.run_gin('evaluation.evaluate', 'runs/eval.gin')
