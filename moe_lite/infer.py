"""Writes what a run, or its frozen base, answers to a task or to a file.

  python -m moe_lite.infer --gin_file=runs/mov/config.gin \\
    --gin_file=data/mini.gin --gin_file=runs/infer.gin \\
    --gin.CHECKPOINT_PATH="'runs/mov'" --gin.INFER_OUTPUT_DIR="'answers'" \\
    --gin.INFER_INPUT="'questions.txt'"

The `config.gin` of a run stands for its model and method. Their files and
macros may be given in its place. The same command goes on with the inputs that
have no answer yet.
"""

from moe_lite.process import start

if __name__ == '__main__':
  start.run_gin('moe_lite.infer', 'inference.infer', 'runs/infer.gin')
