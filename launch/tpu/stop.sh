#!/usr/bin/env bash
# Makes a run save and end on all workers, and waits for that. The slice stays, and
# is still billed.
#
#   bash launch/tpu/stop.sh
#
#   --kill    end at once; the steps since the last checkpoint are lost
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
