#!/usr/bin/env bash
# Keeps a training run going. It creates the slice, sets it up and starts the run,
# and does all of it again when the slice is taken away. The run resumes from
# MODEL_DIR by itself. The script ends when the run is done.
#
#   bash launch/tpu/supervise.sh --type=v5litepod-16 --spot -- \
#     --gin_file=models/t5_1_1_xl.gin ... --gin.MODEL_DIR="'gs://bucket/run'"
#
#   --type= --spot --runtime_version= --valid_until_duration= --create_flag=
#                           as for launch/tpu/create.sh
#   --max_failures=5        how many crashes and failed requests to bear;
#                           preemptions are not counted
#   --delete_when_done      delete the slice when the run is done
#
# Start it in a terminal that lasts, such as tmux on a small VM. You may end it and
# start it again at any time. The run goes on meanwhile.
set -euo pipefail

takes_rest=1
create=()
max_failures=5
delete_when_done=
own_flags='--type=, --spot, --runtime_version=, --valid_until_duration=, '
own_flags+='--create_flag=, --max_failures=, --delete_when_done'
own_flag() {
  case $1 in
    --type=* | --spot | --runtime_version=* | --valid_until_duration=* | \
      --create_flag=*)
      create+=("$1") ;;
    --max_failures=*) max_failures=${1#*=} ;;
    --delete_when_done) delete_when_done=1 ;;
    *) return 1 ;;
  esac
}
. "$(dirname "$0")/common.sh"
parse_flags "$@"
is_match "$max_failures" '[0-9]+' || mistake \
  "--max_failures='$max_failures' is not a whole number."
model_dir=
for argument in ${rest[@]+"${rest[@]}"}; do
  case $argument in --gin.MODEL_DIR=*) model_dir=${argument#*=} ;; esac
done
is_match "$model_dir" "'gs://[^/']+/[^']+'|\"gs://[^/\"]+/[^\"]+\"" || mistake \
  "MODEL_DIR is ${model_dir:-not given}, and must be a folder of a bucket:" \
  "the disks of a slice go with it, and the next one would start at step 0." \
  "Give --gin.MODEL_DIR=\"'gs://bucket/run'\" after --."
check_slice
commit=$(git -C "$here" rev-parse --verify HEAD 2>/dev/null) || mistake \
  "$here is in no git clone: launch/tpu/setup.sh copies committed files."

# The other scripts read these variables. Every slice gets the same files.
export TPU_NAME=$name TPU_ZONE=$zone TPU_PROJECT=$project
call() { bash "$here/$1.sh" ${dry_run:+--dry_run} "${@:2}"; }
create() { call create --no_wait ${create[@]+"${create[@]}"}; }
set_up_and_start() {
  call setup --commit="$commit" && call train -- "${rest[@]}"
}
sum=$(checksum moe_lite.train --multi_host "${rest[@]}")

if [ -n "$dry_run" ]; then
  create
  slice_state >/dev/null
  print_states "$sum"
  set_up_and_start
  say "# If the run fails, then setup and train again, after"
  call stop --kill
  say "# If the slice is lost, then all of it again, after"
  call delete --yes
  exit 0
fi

failures=0
unanswered=0
count_failure() {
  failures=$((failures + 1))
  say "$name: failure $failures: $*"
  if [ $failures -gt "$max_failures" ]; then
    fail "more than $max_failures failures, the last one: $*" \
      "launch/tpu/logs.sh shows the run's log. The slice is billed until" \
      "launch/tpu/delete.sh."
  fi
}

# Connections fail for a while. It only matters if that does not end.
count_unanswered() {
  unanswered=$((unanswered + 1))
  [ $unanswered -le 10 ] || fail "$* 10 times in a row. Nothing was changed;" \
    "the same command goes on."
}

# Prints one word for all workers. A run is done only if it is done on all of them.
run_state() {
  local said wanted
  said=$(print_states "$sum" | sed -n 's/^run: //p' | sort -u) || said=
  for wanted in other failed running stopped 'not set up' none done; do
    if printf '%s\n' "$said" | grep -m 1 "^$wanted"; then return; fi
  done
  say unreachable
}

# Judges the end of a run that was going on when it was last looked at.
judge_end() {
  case $now in
    stopped)
      say "$name: launch/tpu/stop.sh stopped the run; the same command goes on."
      exit 0
      ;;
    'failed 2')
      mistake "the run ended with exit code 2, a mistake in its command;" \
        "'launch/tpu/logs.sh --lines=20' shows it. The slice is still billed."
      ;;
    'failed 4')
      mistake "the run ended with exit code 4, because it diverged;" \
        "'launch/tpu/logs.sh --lines=20' shows where. The slice is still billed."
      ;;
    'failed 143') ;; # SIGTERM, which a preemption sends.
    *) count_failure "the run: $now" ;;
  esac
}

tend_run() {
  now=$(run_state)
  case $now in
    done)
      say "$name: the run is done."
      [ -z "$delete_when_done" ] || call delete --yes
      exit 0
      ;;
    running) ;;
    unreachable) count_unanswered "$name is ACTIVE, but ssh failed" ;;
    other)
      mistake "another run is going on there. launch/tpu/stop.sh ends it."
      ;;
    'not set up') set_up_and_start || count_failure "not set up" ;;
    *)
      [ -n "$first" ] || judge_end
      call stop --kill && set_up_and_start || count_failure "not started"
      ;;
  esac
}

first=1
last=
while true; do
  state=$(slice_state)
  now=
  case $state in
    NONE) create || { [ $? != 2 ] || exit 2; count_failure "not created"; } ;;
    ACTIVE) tend_run ;;
    FAILED)
      count_failure "the request failed"
      call delete --yes || count_failure "not deleted"
      ;;
    SUSPENDED | PREEMPTED | TERMINATED)
      say "$name: $state; asking for another slice."
      call delete --yes || count_failure "not deleted"
      ;;
    UNKNOWN) count_unanswered "gcloud failed to say the state of $name" ;;
  esac
  case "$state $now" in
    UNKNOWN* | *unreachable) ;;
    ACTIVE*) unanswered=0 first= ;;
    *) unanswered=0 ;;
  esac
  if [ "$state $now" != "$last" ]; then
    say "$(date +%H:%M:%S) $name: $state${now:+, the run: $now}"
    last="$state $now"
  fi
  sleep "$poll"
done
