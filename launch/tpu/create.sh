#!/usr/bin/env bash
# Requests a TPU slice through the queue and waits until it is there.
#
#   bash launch/tpu/create.sh --type=v5litepod-16 --spot
#
#   --type=TYPE                  or TPU_TYPE; an unknown type lists all types
#   --spot                       cheaper, but may be taken away at any time
#   --runtime_version=VERSION    of the VM's software; chosen by the type
#   --valid_until_duration=6h    the request ends if it is not met by then
#   --timeout_minutes=120        how long this script waits
#   --no_wait                    only request the slice
#   --create_flag=FLAG           any further flag of `gcloud compute tpus
#                                queued-resources create`, repeated, such as
#                                --create_flag=--service-account=NAME@...
#
# A second call goes on waiting for the same request. A slice is billed while it
# exists. launch/tpu/delete.sh removes it.
set -euo pipefail

type=${TPU_TYPE:-}
runtime_version=
timeout_minutes=120
no_wait=
extra=()
own_flags='--type=, --spot, --runtime_version=, --valid_until_duration=, '
own_flags+='--timeout_minutes=, --no_wait, --create_flag='
own_flag() {
  case $1 in
    --type=*) type=${1#*=} ;;
    --spot) extra+=(--spot) ;;
    --runtime_version=*) runtime_version=${1#*=} ;;
    --valid_until_duration=*) extra+=(--valid-until-duration="${1#*=}") ;;
    --timeout_minutes=*) timeout_minutes=${1#*=} ;;
    --no_wait) no_wait=1 ;;
    --create_flag=--*) extra+=("${1#*=}") ;;
    *) return 1 ;;
  esac
}
. "$(dirname "$0")/common.sh"
parse_flags "$@"

# v4 and v5p count cores, two a chip; v5litepod and v6e count chips.
case $type in
  v4-*) software=tpu-ubuntu2204-base ;;
  v5litepod-*) software=v2-alpha-tpuv5-lite ;;
  v5p-*) software=v2-alpha-tpuv5 ;;
  *) software=v2-alpha-tpuv6e ;;
esac
types='v4-(8|16|32|64|128|256|512|1024|2048|4096)|v5p-(8|[1-9][0-9]+)'
types+='|(v5litepod|v6e)-(1|4|8|16|32|64|128|256)'
is_match "$type" "$types" ||
  mistake "--type='$type' is not a type. There are v4-{8,16,32,...,4096}," \
    "v5litepod-{1,4,8,16,32,64,128,256} (v5e), v5p-{8,16,32,64,128,...}," \
    "v6e-{1,4,8,16,32,64,128,256}. Give --type=TYPE or set TPU_TYPE."
is_match "$timeout_minutes" '[0-9]+' || mistake \
  "--timeout_minutes='$timeout_minutes' is not a whole number of minutes."
check_slice

state=$(queue_state)
case $state in
  '' | NONE)
    run gcloud compute tpus queued-resources create "$name" --node-id="$name" \
      --accelerator-type="$type" \
      --runtime-version="${runtime_version:-$software}" "${where[@]}" \
      ${extra[@]+"${extra[@]}"}
    ;;
  UNKNOWN) fail "gcloud could not say whether $name exists; see above." ;;
  *) say "$name exists already and is $state: nothing new is requested." ;;
esac
[ -z "$no_wait" ] || exit 0

while true; do
  state=$(slice_state)
  case $state in
    '') exit 0 ;; # A dry run.
    ACTIVE) break ;;
    FAILED | SUSPENDING | SUSPENDED | PREEMPTED | TERMINATED)
      reason=$(gcloud compute tpus queued-resources describe "$name" \
        "${where[@]}" --format='value(state.failedData.error.message)') || :
      fail "$name is $state${reason:+ ($reason)} and will not become ACTIVE." \
        "Remove it with launch/tpu/delete.sh, then create it again."
      ;;
  esac
  if [ $SECONDS -ge $((timeout_minutes * 60)) ]; then
    fail "$name is $state after $timeout_minutes minutes. The request stays" \
      "in the queue: the same command goes on waiting, launch/tpu/delete.sh" \
      "takes it back."
  fi
  say "$name: $state, $((SECONDS / 60)) min"
  sleep "$poll"
done
say "$name is ACTIVE and billed from now on. Next: launch/tpu/setup.sh"
