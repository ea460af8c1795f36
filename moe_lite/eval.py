"""Measures a run, or its frozen base, on tasks, and writes a table.

  python -m moe_lite.eval --gin_file=runs/mov/config.gin \\
    --gin_file=data/mini_eval.gin --gin_file=runs/eval.gin \\
    --gin.CHECKPOINT_PATH="'runs/mov'" --gin.EVAL_OUTPUT_DIR="'runs/mov/eval'"

The `config.gin` of a run stands for its model and method. Their files and
macros may be given in its place. The same command goes on with the tasks that
are not measured yet.
"""

from moe_lite.process import start

if __name__ == '__main__':
  start.run_gin('moe_lite.eval', 'evaluation.evaluate', 'runs/eval.gin')
