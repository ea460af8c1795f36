#!/usr/bin/env bash
# Runs on a TPU VM, where the other scripts call it. It installs the package, runs a
# module so that the run outlives the ssh connection, tells its state and stops it.
#
#   bash launch/tpu/on_vm.sh install
#   bash launch/tpu/on_vm.sh start moe_lite.train --multi_host ...
#   bash launch/tpu/on_vm.sh state [SUM]    prints one line
#   bash launch/tpu/on_vm.sh stop TERM      or KILL
#   bash launch/tpu/on_vm.sh idle           fails if a run is going on
#
# The line is "run: " and one of: not set up, none, running, stopped, done, failed
# CODE. With the checksum of a command, it is about runs of that command. Then none
# may also mean that the last run was of another command, and other means that a run
# of another command is going on. ~/moe_lite_run has the log and the state.
set -euo pipefail
cd "$(dirname "$0")/../.."
kept=$HOME/moe_lite_run

fail() {
  echo "launch/tpu/on_vm.sh: $*" >&2
  exit 2
}

# Ubuntu may have a Python without its venv module, which is of no use here.
find_python() {
  local python
  for python in python3.11 python3.12 python3.13; do
    if "$python" -c 'import ensurepip' 2>/dev/null; then
      command -v "$python"
      return
    fi
  done
  {
    python3 -m pip install --quiet uv
    python3 -m uv python install 3.11
  } >&2
  (cd && python3 -m uv python find 3.11)
}

is_alive() {
  # After a restart of the VM, the number may be that of another process.
  [ -s "$kept/pid" ] && grep -qs moe_lite "/proc/$(cat "$kept/pid")/cmdline"
}

state() {
  if [ ! -e .venv/installed-tpu ]; then
    echo not set up
  elif [ ! -e "$kept/pid" ]; then
    echo none
  elif [ -n "${1:-}" ] && [ "$1" != "$(cat "$kept/command")" ]; then
    if is_alive; then echo other; else echo none; fi
  elif is_alive; then
    echo running
  else
    local tries=20 # The exit code is written a moment after the end.
    while [ ! -e "$kept/exit" ] && [ $((tries -= 1)) -gt 0 ]; do
      sleep 0.05
    done
    local code
    code=$(cat "$kept/exit" 2>/dev/null || echo unknown)
    if [ "$code" = 0 ]; then
      echo done
    elif [ -e "$kept/stopped" ]; then
      echo stopped
    else
      echo "failed $code"
    fi
  fi
}

idle() {
  if is_alive; then
    fail "a run is going on. launch/tpu/stop.sh ends it."
  fi
}

start() {
  idle
  [ -e .venv/installed-tpu ] || fail "not set up. Run launch/tpu/setup.sh."
  mkdir -p "$kept"
  rm -f "$kept/pid" "$kept/exit" "$kept/stopped"
  printf '%s\n' "$@" | cksum | cut -d ' ' -f 1 >"$kept/command"
  setsid nohup bash launch/tpu/on_vm.sh attend "$@" \
    >>"$kept/log" 2>&1 </dev/null &
  until [ -s "$kept/pid" ]; do sleep 0.05; done
  echo "started $1; its log is $kept/log"
}

# Waits for the run in the background, and writes down how it ended.
attend() {
  local code=0
  echo "== $(date): python -m $*"
  PYTHONUNBUFFERED=1 .venv/bin/python -m "$@" &
  echo $! >"$kept/pid"
  wait $! || code=$?
  echo "== $(date): exit code $code"
  echo "$code" >"$kept/exit"
}

stop() {
  if ! is_alive; then
    echo "no run is going on"
    return
  fi
  touch "$kept/stopped"
  kill -s "$1" "$(cat "$kept/pid")"
  local tries=4500 # 15 minutes: all hosts agree on a step, then save.
  while is_alive; do
    [ $((tries -= 1)) -gt 0 ] || fail "the run has not ended within 15" \
      "minutes. launch/tpu/stop.sh --kill ends it at once, and loses the" \
      "steps since its last checkpoint."
    sleep 0.2
  done
  echo "stopped"
}

case ${1:-} in
  install) PYTHON=$(find_python) bash launch/venv.sh tpu ;;
  state) echo "run: $(state "${2:-}")" ;;
  start | attend | stop | idle) "$@" ;;
  *) fail "'${1:-}' is not an action. There are install, start, state, stop, idle." ;;
esac
