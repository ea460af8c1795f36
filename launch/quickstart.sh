#!/usr/bin/env bash
# Instruction-tunes MoV on the frozen mini T5, and evaluates it on kinds of tasks
# that training never saw.
#
#   bash launch/quickstart.sh            goes on where an earlier call stopped
#   bash launch/quickstart.sh --fresh    starts over
#
# Every step is a command that can be run by itself, and is printed first.
# RUN=... names a run folder other than runs/quickstart.
set -euo pipefail
cd "$(dirname "$0")/.."

run=${RUN:-runs/quickstart}
steps=200
examples=150  # Of each task, of 1000.
case "${1:-}" in
  '') ;;
  --fresh) rm -rf "$run" ;;
  *)
    echo "launch/quickstart.sh: unknown argument '$1'; there is --fresh." >&2
    exit 2
    ;;
esac

bash launch/venv.sh
# The warnings of other packages about one another would bury the progress.
export TF_CPP_MIN_LOG_LEVEL=2

step() {
  echo
  echo "$ $(.venv/bin/python -m moe_lite.process.shell .venv/bin/python "$@")"
  .venv/bin/python "$@"
}

model_and_method=(
  --gin_file=models/t5_1_1_mini.gin --gin_file=methods/mov.gin
  --gin.NUM_EXPERTS=10
)
evaluation=(
  -m moe_lite.eval "${model_and_method[@]}"
  --gin_file=data/mini_eval.gin --gin_file=runs/eval.gin
  --gin.NUM_EXAMPLES=$examples
)

step -m moe_lite.train "${model_and_method[@]}" \
  --gin_file=data/mini.gin --gin_file=runs/finetune.gin \
  --gin.MODEL_DIR="'$run'" --gin.TRAIN_STEPS=$steps --gin.LEARNING_RATE=0.03 \
  --gin.LOG_PERIOD=25
step "${evaluation[@]}" --gin.CHECKPOINT_PATH="'base'" \
  --gin.EVAL_OUTPUT_DIR="'$run/eval_base'"
step "${evaluation[@]}" --gin.CHECKPOINT_PATH="'$run'" \
  --gin.EVAL_OUTPUT_DIR="'$run/eval'"
step -m moe_lite.routing_report "$run" --mixture=mini_train,mini_eval_score_eval
step -m moe_lite.report "$run/eval_base" "$run/eval" --to="$run"

cat <<END

The run is in $run: results.md, results.json, loss.png, routing/index.html.
What to try next:

1. Ask it questions of your own, one on each line:
   echo 'Guess whose it was: the trial. Options: judge, miner, singer.' >questions.txt
   .venv/bin/python -m moe_lite.infer ${model_and_method[*]} \\
     --gin_file=data/mini.gin --gin_file=runs/infer.gin \\
     --gin.CHECKPOINT_PATH="'$run'" --gin.INFER_OUTPUT_DIR="'$run/infer'" \\
     --gin.INFER_INPUT="'questions.txt'"

2. Train one vector at each site instead of ten. The log ends with the command
   that evaluates it. Add --gin.NUM_EXAMPLES=$examples to that command, so that it
   measures the same examples:
   .venv/bin/python -m moe_lite.train --gin_file=models/t5_1_1_mini.gin \\
     --gin_file=methods/ia3.gin --gin_file=data/mini.gin \\
     --gin_file=runs/finetune.gin --gin.MODEL_DIR="'runs/ia3'" \\
     --gin.TRAIN_STEPS=$steps --gin.LEARNING_RATE=0.03

3. Compare it with the others:
   .venv/bin/python -m moe_lite.report $run/eval_base $run/eval runs/ia3/eval
END
