#!/usr/bin/env bash
# Starts `python -m moe_lite.eval --multi_host ...` on every worker. It goes on
# there without this machine. Its arguments stand after --.
#
#   bash launch/tpu/eval.sh -- --gin_file=models/t5_1_1_xl.gin ... \
#     --gin.CHECKPOINT_PATH="'gs://bucket/run'" \
#     --gin.EVAL_OUTPUT_DIR="'gs://bucket/run/eval'"
#
# The same command goes on with an evaluation that was interrupted.
set -euo pipefail

takes_rest=1
. "$(dirname "$0")/common.sh"
parse_flags "$@"
check_slice
[ ${#rest[@]} -gt 0 ] || mistake \
  "nothing to evaluate. Give what moe_lite.eval is to read after --, such as" \
  "-- --gin_file=models/t5_1_1_xl.gin ..."
on_vm start moe_lite.eval --multi_host "${rest[@]}"
