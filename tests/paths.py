"""Where things lie: the repository, and what lies beside it."""

import pathlib

ROOT = pathlib.Path(__file__).parents[1]
TINY_GIN = ROOT / 'tests' / 'tiny.gin'
# Facts and golden numbers that are not part of the repository. A test that
# needs them skips where they are not.
SHARED = ROOT.parent / 'shared'
