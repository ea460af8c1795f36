#!/usr/bin/env bash
# Copies the checkout's committed files to every worker and installs them.
#
#   bash launch/tpu/setup.sh
#
#   --commit=COMMIT    the commit to copy; HEAD by default
#
# On each worker the files lie in ~/moe_lite, and their environment in
# ~/moe_lite/.venv. The Python of the VMs is 3.10. If there is no 3.11 or newer, uv
# installs one in the home folder. A second call copies the files again, and installs
# again only if setup.py has changed.
set -euo pipefail

commit=HEAD
own_flags='--commit='
own_flag() {
  case $1 in
    --commit=*) commit=${1#*=} ;;
    *) return 1 ;;
  esac
}
. "$(dirname "$0")/common.sh"
parse_flags "$@"
root=$(cd "$here/../.." && pwd)
if ! git -C "$root" rev-parse --quiet --verify "$commit^{tree}" \
  >/dev/null 2>&1; then
  mistake "--commit='$commit' is not a commit of $root. Committed files are" \
    "copied: work in a git clone."
fi
check_slice
if [ -z "$dry_run" ] && ! git -C "$root" diff --quiet HEAD; then
  say "Changes that are not committed are not copied."
fi

archive=${TMPDIR:-/tmp}/moe_lite-$name.tar.gz
run git -C "$root" archive --format=tar.gz --output="$archive" "$commit"
run gcloud compute tpus tpu-vm scp "$archive" "$name:moe_lite.tar.gz" \
  --worker=all "${where[@]}"
# Everything but the environment is replaced, unless a run reads it.
ssh_words all 'mkdir -p moe_lite &&
 if [ -e moe_lite/launch/tpu ]; then
 bash moe_lite/launch/tpu/on_vm.sh idle; fi &&
 find moe_lite -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -rf {} + &&
 tar -xzf moe_lite.tar.gz -C moe_lite &&
 bash moe_lite/launch/tpu/on_vm.sh install'
run "${words[@]//$'\n'/}"
[ -n "$dry_run" ] || say "$name is set up. Next: launch/tpu/train.sh"
