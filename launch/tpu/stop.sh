#!/usr/bin/env bash
# Has a run save and end on all workers, and waits for it. The slice stays, and
# stays billed.
#
#   bash launch/tpu/stop.sh
#
#   --kill    end at once; steps since the last checkpoint are lost
set -euo pipefail

signal=TERM
own_flags='--kill'
own_flag() {
  case $1 in
    --kill) signal=KILL ;;
    *) return 1 ;;
  esac
}
. "$(dirname "$0")/common.sh"
parse_flags "$@"
check_slice
on_vm stop "$signal"
