"""A selector is whole, or refused in one message."""

import pathlib

import pytest

from moe_lite.checkpoints import library
from moe_lite.core import json_files
from moe_lite.core.errors import UserError
from moe_lite.library import selector
from tests.library import experts

SERVED = {'fruit': 'apples', 'ships': 'boats', 'trees': 'apples'}


@pytest.fixture
def kept(tmp_path):
  _, path = experts.write(tmp_path)
  selector.write(path, SERVED)
  return path


def test_a_data_set_has_its_expert(kept):
  assert selector.read(kept) == SERVED
  for data_set, name in SERVED.items():
    assert selector.selected(kept, data_set) == library.folder_of(kept, name)
  with pytest.raises(UserError, match="no expert for 'fruits'.*'fruit'"):
    selector.selected(kept, 'fruits')


def test_experts_that_are_not_there_are_named_once(kept):
  selector.write(kept, {**SERVED, 'x': 'zebras', 'y': 'yaks'})
  with pytest.raises(UserError, match='lacks: yaks, zebras. Put them back'):
    selector.read(kept)
  # In the index, but without its folder.
  selector.write(kept, SERVED)
  boats = pathlib.Path(library.folder_of(kept, 'boats'))
  boats.rename(boats.with_name('elsewhere'))
  with pytest.raises(UserError, match='lacks: boats'):
    selector.selected(kept, 'fruit')


def test_what_is_no_selector_is_refused(kept, tmp_path):
  with pytest.raises(UserError, match='has no selector.json'):
    selector.read(str(tmp_path))
  where = pathlib.Path(kept) / selector.SELECTOR
  said = json_files.read(where)
  json_files.write(where, {**said, 'version': 9})
  with pytest.raises(UserError, match='install a newer moe_lite'):
    selector.read(kept)
  json_files.write(where, {'experts': SERVED})
  with pytest.raises(UserError, match='is not a selector'):
    selector.read(kept)
