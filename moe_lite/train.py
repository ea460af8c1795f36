"""Trains adapters on a frozen T5, or all of a T5.

  python -m moe_lite.train --gin_file=models/t5_1_1_mini.gin \\
    --gin_file=methods/mov.gin --gin_file=data/mini.gin \\
    --gin_file=runs/finetune.gin --gin.MODEL_DIR="'runs/mov'"

A run is composed of a model, a method, data and a run file, in this order. A
file of recipes/ has all four. The same command resumes a run. On Ctrl-C or
SIGTERM the run stops after a step and saves it.
"""

from moe_lite.process import start

if __name__ == '__main__':
  start.run_gin('moe_lite.train', 'training.train', 'runs/finetune.gin')
