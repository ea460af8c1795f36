#!/usr/bin/env bash
# Builds a release into dist/, checks it, and tries the wheel by itself.
#
#   bash launch/release.sh
#
# The wheel is installed into an environment that is otherwise empty, and the
# quickstart's commands run there, in an empty folder. Nothing is published.
set -euo pipefail
cd "$(dirname "$0")/.."
bash launch/venv.sh release

version=$(.venv/bin/python -c 'import moe_lite; print(moe_lite.__version__)')
for said in "version: $version" "## $version - "; do
  if ! grep -q "^$said" CITATION.cff CHANGELOG.md; then
    echo "launch/release.sh: neither CITATION.cff nor CHANGELOG.md has a line" \
      "that begins with '$said'. Name the version in both." >&2
    exit 2
  fi
done

rm -rf dist
.venv/bin/cffconvert --validate -i CITATION.cff
.venv/bin/python -m build
.venv/bin/twine check --strict dist/*

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
.venv/bin/python -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet dist/*.whl
bash launch/smoke.sh "$folder/venv/bin/python" "$folder/empty"

cat <<END

The release $version is in dist/:
$(ls dist)
To publish it, tag the commit 'v$version' and run:
  .venv/bin/twine upload dist/*
END
