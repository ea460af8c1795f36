#!/usr/bin/env bash
# Follows the log of a worker. Ctrl-C ends this script and not the run.
#
#   bash launch/tpu/logs.sh
#
#   --worker=N    the worker; 0 by default, which prints most
#   --lines=N     print only the last N lines and return
set -euo pipefail

worker=0
follow=' -F'
lines=100
own_flags='--worker=, --lines='
own_flag() {
  case $1 in
    --worker=*) worker=${1#*=} ;;
    --lines=*) lines=${1#*=} follow= ;;
    *) return 1 ;;
  esac
}
. "$(dirname "$0")/common.sh"
parse_flags "$@"
is_match "$worker" '[0-9]+' || mistake "--worker='$worker' is not a number."
is_match "$lines" '[0-9]+' || mistake "--lines='$lines' is not a number."
check_slice
ssh_words "$worker" "tail -n $lines$follow moe_lite_run/log"
query "${words[@]}"
