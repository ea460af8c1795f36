#!/usr/bin/env bash
# The tests that need T5X, with an interpreter that has it and moe_lite[test].
#
#   bash launch/test_t5x.sh ~/t5x/bin/python
#   bash launch/test_t5x.sh ~/t5x/bin/python -k losses    the rest goes to pytest
set -euo pipefail

# `moe_lite.integrations.t5x_parts` imports T5X as `python -m moe_lite.t5x` does.
if [ $# -eq 0 ] ||
  ! "$1" -c 'import pytest, moe_lite.integrations.t5x_parts'; then
  echo "launch/test_t5x.sh: give a Python that can import t5x, moe_lite and" \
    "pytest; docs/tutorials/t5x.md says how to make one." >&2
  exit 2
fi
python=$(command -v "$1")
case $python in /*) ;; *) python=$PWD/$python ;; esac
cd "$(dirname "$0")/.."
exec "$python" -m pytest -m t5x tests/integrations "${@:2}"
