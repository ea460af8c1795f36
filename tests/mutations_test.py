"""Whatever is damaged is refused by name, or has not changed what is read.

Every kind of folder with parameters is damaged in seeded ways, over and over.
Reading it either ends with a message for the user, or gives what was written.
"""

import json
import shutil

import numpy as np
import pytest

from moe_lite.core.errors import UserError
from tests import mutating
from tests.mutated_kinds import KINDS, LAST


def equal(one, other):
  return (
    json.dumps(one[1], default=repr) == json.dumps(other[1], default=repr)
    and one[0].keys() == other[0].keys()
    and all(
      np.asarray(x).dtype == np.asarray(other[0][name]).dtype
      and np.array_equal(x, other[0][name])
      for name, x in one[0].items()
    )
  )


MARKS = {'torch': pytest.mark.hf}


@pytest.mark.parametrize(
  'kind', [pytest.param(kind, marks=MARKS.get(kind, ())) for kind in KINDS]
)
def test_nothing_damaged_is_read_as_if_it_were_whole(kind, tmp_path):
  write, read, times = KINDS[kind]
  whole, folder = tmp_path / 'whole', tmp_path / 'folder'
  write(folder)
  expected = read(folder)
  shutil.copytree(folder, whole)
  silent, refused = [], 0
  for seed in range(times):
    random = mutating.seeded(seed)
    mutate = mutating.ALL[seed % len(mutating.ALL)]
    shutil.rmtree(folder)
    shutil.copytree(whole, folder)
    mutate(folder / LAST if kind == 'run' else folder, random)
    try:
      found = read(folder)
    except UserError as error:
      refused += 1
      assert str(error).strip()
      continue
    except Exception as error:  # What the user would see is a traceback.
      silent.append((seed, mutate.__name__, repr(error)))
      continue
    if not equal(expected, found):
      silent.append((seed, mutate.__name__))
  assert not silent
  assert refused >= times / 6
