#!/usr/bin/env bash
# The tests that need T5X, with an interpreter that has it and moe_lite[test].
#
#   bash launch/test_t5x.sh ~/t5x/bin/python
#   bash launch/test_t5x.sh ~/t5x/bin/python -k losses    the rest goes to pytest
set -euo pipefail

if [ $# -eq 0 ] || ! "$1" -c 'import t5x, moe_lite, pytest' 2>/dev/null; then
  echo "launch/test_t5x.sh: give a Python that can import t5x, moe_lite and" \
    "pytest; README says under 'With T5X' how to make one." >&2
  exit 2
fi
python=$(command -v "$1")
case $python in /*) ;; *) python=$PWD/$python ;; esac
cd "$(dirname "$0")/.."
exec "$python" -m pytest -m t5x tests/integrations "${@:2}"
