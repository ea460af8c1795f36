#!/usr/bin/env bash
# Deletes a slice and its request, which ends their billing. It does not save what
# runs on the slice; launch/tpu/stop.sh does.
#
#   bash launch/tpu/delete.sh
#
#   --yes    do not ask
set -euo pipefail

yes=
own_flags='--yes'
own_flag() {
  case $1 in
    --yes) yes=1 ;;
    *) return 1 ;;
  esac
}
. "$(dirname "$0")/common.sh"
parse_flags "$@"
check_slice
if [ -z "$yes$dry_run" ]; then
  printf 'Delete %s in %s of %s, with all that is on its disks? [y/N] ' \
    "$name" "$zone" "$project"
  read -r answer || answer=
  case $answer in
    y | Y | yes) ;;
    *) mistake "nothing was deleted. Answer y, or give --yes." ;;
  esac
fi
run gcloud compute tpus queued-resources delete "$name" "${where[@]}" \
  --force --quiet
