# The scripts of this folder source this file. It has flags, checks, the way a
# command runs, and the state of a slice. A script may define beforehand:
#   own_flag FLAG  takes a flag, or returns 1
#   own_flags      the names of its flags, for messages
#   takes_rest=1   if the script takes what stands after --

exec 3>&1 # A dry run prints commands here, also from within $(...).
script=launch/tpu/$(basename "$0")
here=$(cd "$(dirname "$0")" && pwd)

name=${TPU_NAME:-moe-lite}
zone=${TPU_ZONE:-${CLOUDSDK_COMPUTE_ZONE:-}}
project=${TPU_PROJECT:-${CLOUDSDK_CORE_PROJECT:-}}
poll=${TPU_POLL_SECONDS:-30}
dry_run=
rest=()

say() { printf '%s\n' "$*"; }

mistake() { # Ends with the message of a user's mistake.
  printf '%s: %s\n' "$script" "$*" >&2
  exit 2
}

fail() { # Ends with the message of any other failure.
  printf '%s: %s\n' "$script" "$*" >&2
  exit 1
}

help() {
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
  cat <<'END'

Flags of every script here, and the environment variables in their place:
  --name=NAME        TPU_NAME     the slice and its request; moe-lite by default
  --zone=ZONE        TPU_ZONE     or CLOUDSDK_COMPUTE_ZONE
  --project=PROJECT  TPU_PROJECT  or CLOUDSDK_CORE_PROJECT
  --dry_run                       print every command and run none
TPU_POLL_SECONDS=30 is the time to wait before looking at a state again.
END
}

parse_flags() {
  local all="--name=, --zone=, --project=, --dry_run, --help"
  all+=${own_flags:+, $own_flags}
  all+=${takes_rest:+; what the run reads follows --}
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) help; exit 0 ;;
      --dry_run) dry_run=1 ;;
      --name=*) name=${1#*=} ;;
      --zone=*) zone=${1#*=} ;;
      --project=*) project=${1#*=} ;;
      --) shift; rest=("$@"); break ;;
      *)
        if [ "$(type -t own_flag)" != function ] || ! own_flag "$1"; then
          mistake "unknown flag '$1'. There are $all. See --help."
        fi
        ;;
    esac
    shift
  done
  if [ ${#rest[@]} -gt 0 ] && [ -z "${takes_rest:-}" ]; then
    mistake "'${rest[0]}' after --: nothing stands there. See --help."
  fi
}

is_match() { # WORD PATTERN, of the whole word.
  local pattern="^($2)$"
  [[ $1 =~ $pattern ]]
}

check_slice() {
  is_match "$name" '[a-z]([-a-z0-9]{0,61}[a-z0-9])?' || mistake \
    "--name='$name': a name has lower case letters, digits and hyphens, and" \
    "begins with a letter."
  [ -n "$project" ] || mistake \
    "no project. Give --project=PROJECT or set TPU_PROJECT; 'gcloud projects" \
    "list' shows yours."
  [ -n "$zone" ] || mistake \
    "no zone. Give --zone=ZONE or set TPU_ZONE, such as us-west4-a; 'gcloud" \
    "compute tpus locations list' shows them."
  is_match "$zone" '[a-z]+-[a-z]+[0-9]+-[a-z0-9]+' || mistake \
    "--zone='$zone' is not a zone. A zone is a region and a letter, such as" \
    "us-west4-a."
  is_match "$poll" '[0-9]+([.][0-9]+)?' || mistake \
    "TPU_POLL_SECONDS='$poll' is not a number of seconds."
  where=(--zone="$zone" --project="$project")
  [ -n "$dry_run" ] || command -v gcloud >/dev/null || mistake \
    "gcloud is not installed. See https://cloud.google.com/sdk/docs/install;" \
    "--dry_run works without it."
  local account
  account=$(query gcloud auth list --filter=status:ACTIVE \
    --format='value(account)')
  [ -n "$dry_run$account" ] || mistake \
    "gcloud is not logged in. Run 'gcloud auth login'."
}

# Words as one line that any shell reads back as the same words.
quoted() {
  local word line='' one="'" four="'\\''"
  for word; do
    case $word in
      '' | *[!A-Za-z0-9_@%+=:,./-]*) word="'${word//$one/$four}'" ;;
    esac
    line+=${line:+ }$word
  done
  printf '%s' "$line"
}

checksum() { printf '%s\n' "$@" | cksum | cut -d ' ' -f 1; }

query() { # Runs a command that changes nothing, or whose output is wanted.
  if [ -n "$dry_run" ]; then
    printf '%s\n' "$(quoted "$@")" >&3
  else
    "$@"
  fi
}

run() { # Prints and runs a command that changes something.
  [ -n "$dry_run" ] || printf '$ %s\n' "$(quoted "$@")"
  query "$@"
}

ssh_words() { # WORKER COMMAND; sets `words`.
  words=(gcloud compute tpus tpu-vm ssh "$name" --worker="$1" "${where[@]}"
    --command="$2")
}

on_vm() { # Runs on_vm.sh on all workers.
  local code=0
  ssh_words all "bash moe_lite/launch/tpu/on_vm.sh $(quoted "$@")"
  run "${words[@]}" || code=$?
  [ $code != 127 ] || mistake "$name is not set up. Run launch/tpu/setup.sh."
  return $code
}

print_states() { # [CHECKSUM]; prints a line for every worker, see on_vm.sh.
  ssh_words all 'if [ -e moe_lite/launch/tpu/on_vm.sh ]; then bash'\
" moe_lite/launch/tpu/on_vm.sh state${1:+ $1}; else echo run: not set up; fi"
  query "${words[@]}"
}

# Prints the state of the request: NONE if there is no request, and nothing in a
# dry run. --quiet, because nobody would see a question of gcloud.
queue_state() {
  local errors state
  errors=$(mktemp)
  if state=$(query gcloud compute tpus queued-resources describe "$name" \
    "${where[@]}" --quiet --format='value(state.state)' 2>"$errors"); then
    say "$state"
  elif grep -q NOT_FOUND "$errors"; then
    say NONE
  else
    tail -n 1 "$errors" >&2
    say UNKNOWN
  fi
  rm -f "$errors"
}

# Prints the state of the request. If that is ACTIVE, but the slice is not ready, it
# prints the state of the slice: a preempted slice may say so before its request.
slice_state() {
  local state node
  state=$(queue_state)
  if [ -n "$dry_run" ] || [ "$state" = ACTIVE ]; then
    node=$(query gcloud compute tpus tpu-vm describe "$name" "${where[@]}" \
      --quiet --format='value(state)' 2>/dev/null) || node=UNKNOWN
    [ "$node" = READY ] || state=$node
  fi
  say "$state"
}
