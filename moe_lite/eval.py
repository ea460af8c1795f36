"""Evaluates a run: `python -m moe_lite.eval --gin_file=... --gin.X=...`.

See gin/runs/eval.gin.
"""

from moe_lite import cli

if __name__ == '__main__':
  cli.run('evaluation.evaluate', 'runs/eval.gin')
