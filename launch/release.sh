#!/usr/bin/env bash
# Builds a release, checks it, and tries the wheel by itself.
#
#   bash launch/release.sh
#
# The wheel is installed into an environment that is otherwise empty, and the
# quickstart's commands run there, in an empty folder. This takes some minutes
# and downloads what the package needs. Nothing is published.
# DIST=... names another folder for the files than dist.
set -euo pipefail
cd "$(dirname "$0")/.."
dist=${DIST:-dist}
bash launch/venv.sh release

version=$(.venv/bin/python -c 'import moe_lite; print(moe_lite.__version__)')
if ! grep -q "^version: $version\$" CITATION.cff; then
  echo "launch/release.sh: CITATION.cff does not say 'version: $version'." >&2
  exit 2
fi
if ! grep -q "^## $version - " CHANGELOG.md; then
  echo "launch/release.sh: CHANGELOG.md has no section '## $version - DATE'." >&2
  exit 2
fi
if [ -n "$(git status --porcelain)" ]; then
  echo 'launch/release.sh: the checkout has changes that are not committed.' \
    'They will be in the files.' >&2
fi

mkdir -p "$dist"
rm -f "$dist"/moe_lite-*
.venv/bin/cffconvert --validate -i CITATION.cff
.venv/bin/python -m build --outdir "$dist"
.venv/bin/twine check --strict "$dist"/moe_lite-*

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
.venv/bin/python -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet "$dist"/moe_lite-*.whl
bash launch/smoke.sh "$folder/venv/bin/python" "$folder/empty"

cat <<END

Everything worked. The release $version is in $dist:
$(cd "$dist" && ls moe_lite-*)

It is not published. To publish it:
1. Commit everything, and tag the commit: git tag v$version
2. The links and pictures of README.md are relative, and lead nowhere on the page
   of a package index. Decide whether that is good enough.
3. Upload the files with an account of yours:
   .venv/bin/twine upload $dist/moe_lite-$version*
END
