#!/usr/bin/env bash
# Runs the quickstart's commands, shortened, with an installed moe_lite.
#
#   bash launch/smoke.sh PYTHON FOLDER
#
# PYTHON is the interpreter that moe_lite is installed for. FOLDER must be empty:
# the commands run there, so that nothing of a checkout is found by accident.
set -euo pipefail
if (($# != 2)); then
  echo 'launch/smoke.sh: give an interpreter and an empty folder.' >&2
  exit 2
fi
python=$1
mkdir -p "$2"
cd "$2"
if [ -n "$(ls -A)" ]; then
  echo "launch/smoke.sh: $2 is not empty; name an empty folder." >&2
  exit 2
fi
unset PYTHONPATH

run() {
  echo "\$ python -m $*"
  "$python" -m "$@"
}

method=(
  --gin_file=models/t5_1_1_mini.gin --gin_file=methods/mov.gin
  --gin.NUM_EXPERTS=4
)
run moe_lite.train "${method[@]}" --gin_file=data/mini.gin \
  --gin_file=runs/finetune.gin --gin.MODEL_DIR="'run'" --gin.TRAIN_STEPS=20 \
  --gin.LEARNING_RATE=0.03
run moe_lite.eval "${method[@]}" --gin_file=data/mini_eval.gin \
  --gin_file=runs/eval.gin --gin.NUM_EXAMPLES=20 \
  --gin.CHECKPOINT_PATH="'run'" --gin.EVAL_OUTPUT_DIR="'run/eval'"
run moe_lite.routing_report run --mixture=mini_eval_score_eval
run moe_lite.report run/eval --to=run
echo 'Is a robin a bird?' >questions.txt
run moe_lite.infer "${method[@]}" --gin_file=data/mini.gin \
  --gin_file=runs/infer.gin --gin.CHECKPOINT_PATH="'run'" \
  --gin.INFER_OUTPUT_DIR="'infer'" --gin.INFER_INPUT="'questions.txt'"
run moe_lite.convert export run --to=exported
run moe_lite.library split run --to=experts
run moe_lite.library list experts
"$python" - <<'END'
import moe_lite

model = moe_lite.load('mini', adapters='exported')
print(moe_lite.__version__, model.generate(['Is a robin a bird?']))
END
