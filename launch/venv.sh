#!/usr/bin/env bash
# Makes .venv at the top of the checkout and installs moe_lite into it.
#
#   bash launch/venv.sh            what a run needs
#   bash launch/venv.sh test       with an extra of setup.py
#
# Installs again only if setup.py has changed, and otherwise returns at once.
# PYTHON=... names the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
extra=${1:-}

is_new_enough() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
  local names=${PYTHON:-python3.11 python3 python3.12 python3.13}
  local name
  for name in $names; do
    if is_new_enough "$name"; then
      echo "$name"
      return
    fi
  done
  echo "launch/venv.sh: no Python 3.11 or newer among: $names. Install one" \
    "(tested: 3.11) or name it in PYTHON." >&2
  return 2
}

# The stamp is written last, so an interrupted installation starts over.
stamp=.venv/installed${extra:+-$extra}
wanted=$(cksum setup.py)
if [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]
then
  exit 0
fi

python=$(find_python)
echo "Installing moe_lite${extra:+[$extra]} into .venv" \
  "($("$python" --version)); this takes a few minutes."
if ! "$python" -m venv .venv; then
  echo "launch/venv.sh: $python cannot make a virtual environment; install its" \
    "venv module (on Debian: apt install python3-venv)." >&2
  exit 2
fi
.venv/bin/python -m pip install --quiet --upgrade pip
.venv/bin/python -m pip install --quiet --prefer-binary \
  --editable ".${extra:+[$extra]}"
echo "$wanted" >"$stamp"
