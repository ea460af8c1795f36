#!/usr/bin/env bash
# Lists the requests and the slices of a zone, and shows the state of the run.
#
#   bash launch/tpu/status.sh
#
# Everything that is listed under slices is billed.
set -euo pipefail

. "$(dirname "$0")/common.sh"
parse_flags "$@"
check_slice
say "# requests"
query gcloud compute tpus queued-resources list "${where[@]}"
say "# slices"
query gcloud compute tpus tpu-vm list "${where[@]}"
state=$(slice_state)
say "# $name${state:+: $state}"
case $state in
  '' | ACTIVE)
    print_states
    ;;
esac
