"""What training under T5X says at its end."""

from moe_lite.integrations import t5x_next


def test_an_evaluation_has_the_network_of_the_run():
  argv = [
    *('t5x', 'train', '--gin_file=models/t5_1_1_mini.gin'),
    *('--gin_file=methods/mov.gin', '--gin_file=data/mini.gin'),
    *('--gin_file=t5x/finetune.gin', "--gin.MODEL_DIR='runs/x'"),
    *('--gin.NUM_EXPERTS=4', '--gin.TRAIN_STEPS=5'),
    "--gin.INITIAL_CHECKPOINT_PATH='mini'",
  ]
  said, command = t5x_next.lines(argv, 'runs/x/', 5)
  assert said == 'The run is in runs/x, at step 5. Evaluate it:'
  assert command.split() == [
    *('python', '-m', 'moe_lite.t5x', 'eval'),
    *('--gin_file=models/t5_1_1_mini.gin', '--gin_file=methods/mov.gin'),
    *('--gin_file=data/mini_eval.gin', '--gin_file=t5x/eval.gin'),
    '--gin.NUM_EXPERTS=4',
    '--gin.INITIAL_CHECKPOINT_PATH="\'mini\'"',
    '--gin.CHECKPOINT_PATH="\'runs/x/checkpoint_5\'"',
    '--gin.EVAL_OUTPUT_DIR="\'runs/x/eval\'"',
  ]
