#!/usr/bin/env bash
# Starts `python -m moe_lite.train --multi_host ...` on every worker. It goes on
# there without this machine. Its arguments stand after --.
#
#   bash launch/tpu/train.sh -- --gin_file=models/t5_1_1_xl.gin ... \
#     --gin.MODEL_DIR="'gs://bucket/run'"
#
# The same command resumes a run. launch/tpu/logs.sh follows it,
# launch/tpu/stop.sh stops it, launch/tpu/supervise.sh keeps it going on spot.
set -euo pipefail

takes_rest=1
. "$(dirname "$0")/common.sh"
parse_flags "$@"
check_slice
[ ${#rest[@]} -gt 0 ] || mistake \
  "nothing to train. Give what moe_lite.train is to read after --, such as" \
  "-- --gin_file=models/t5_1_1_xl.gin ..."
case ${rest[*]} in
  *--gin.MODEL_DIR=*gs://*) ;;
  *--gin.MODEL_DIR=*)
    say "# MODEL_DIR is on the VMs' own disks: they go with the slice, and" \
      "several hosts do not share them. Better give a folder of a bucket."
    ;;
esac
on_vm start moe_lite.train --multi_host "${rest[@]}"
