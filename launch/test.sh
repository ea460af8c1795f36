#!/usr/bin/env bash
# Lint, formatting and tests, in .venv (see launch/venv.sh).
#
#   bash launch/test.sh                      everything that runs by default
#   bash launch/test.sh tests/gin_test.py    any argument goes to pytest
#   bash launch/test.sh -m slow              the slow tests
set -euo pipefail
cd "$(dirname "$0")/.."
bash launch/venv.sh test

.venv/bin/ruff check .
.venv/bin/ruff format --check .
parallel=()
if (($# == 0)); then
  # The tests of a file stay together, since they share what is made once.
  parallel=(-n auto --maxprocesses=4 --dist loadfile)
fi
.venv/bin/python -m pytest ${parallel[@]+"${parallel[@]}"} "$@"
