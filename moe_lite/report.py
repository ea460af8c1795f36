"""Shows evaluations side by side: `python -m moe_lite.report DIR DIR ...`.

The command itself is in moe_lite/evaluation/report.py.
"""

from moe_lite.process import start

if __name__ == '__main__':
  start.run('moe_lite.evaluation.report')
