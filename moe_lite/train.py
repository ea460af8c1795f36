"""Trains: `python -m moe_lite.train --gin_file=... --gin.MODEL_DIR="'...'"`.

gin/runs/finetune.gin and gin/runs/pretrain.gin say what can be configured.
"""

from moe_lite.process import start

if __name__ == '__main__':
  start.run_gin('training.train', 'runs/finetune.gin')
