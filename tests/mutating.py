"""Damages the files of a folder in many seeded ways."""

import json
import pathlib
import struct

import numpy as np

_HOSTILE = (
  '../../x',
  '<script>alert(1)</script>',
  '$HOME',
  'a\nb',
  '',
  'é' * 9,
)
_OTHER = (None, True, -1, 0.5, 10**30, 'x', [], {}, [[]], {'a': {}})


def flip(folder, random):
  """Flips a bit of a file."""
  path = _some_file(folder, random)
  contents = bytearray(path.read_bytes())
  contents[random.integers(len(contents))] ^= 1 << random.integers(8)
  path.write_bytes(contents)


def flip_value(folder, random):
  """Flips a bit in the second half of a file, where safetensors have values."""
  path = _some_file(folder, random, largest=True)
  contents = bytearray(path.read_bytes())
  place = random.integers(len(contents) // 2, len(contents))
  contents[place] ^= 1 << random.integers(8)
  path.write_bytes(contents)


def cut(folder, random):
  path = _some_file(folder, random)
  contents = path.read_bytes()
  path.write_bytes(contents[: random.integers(len(contents))])


def remove(folder, random):
  _some_file(folder, random).unlink()


def swap(folder, random):
  """Exchanges the contents of two files."""
  one, other = (_some_file(folder, random) for _ in range(2))
  contents = one.read_bytes(), other.read_bytes()
  one.write_bytes(contents[1])
  other.write_bytes(contents[0])


def put_nan(folder, random):
  """Puts NaN over a number in the second half of a file."""
  path = _some_file(folder, random, largest=True)
  contents = bytearray(path.read_bytes())
  place = random.integers(len(contents) // 2, len(contents) - 8) // 4 * 4
  contents[place : place + 4] = struct.pack('<f', float('nan'))
  path.write_bytes(contents)


def put_type(folder, random):
  """Puts a value of another type into a JSON file."""
  _change_json(folder, random, lambda old: _other_than(old, random))


def put_number(folder, random):
  """Puts another number into a JSON file."""

  def other(old):
    is_number = isinstance(old, int | float) and not isinstance(old, bool)
    return old + int(random.integers(1, 9)) if is_number else old

  _change_json(folder, random, other)


def put_name(folder, random):
  """Gives an entry of a JSON file a hostile name."""
  path, said = _some_json(folder, random)
  if path is None:
    return
  places = [place for place, x in _places(said) if isinstance(x, dict) and x]
  if not places:
    return
  inner = said
  for key in places[random.integers(len(places))]:
    inner = inner[key]
  old = list(inner)[random.integers(len(inner))]
  inner[_HOSTILE[random.integers(len(_HOSTILE))]] = inner.pop(old)
  path.write_text(json.dumps(said))


ALL = (flip, flip_value, cut, remove, swap, put_nan) + (
  put_type,
  put_number,
  put_name,
)


def _files(folder):
  return sorted(p for p in pathlib.Path(folder).rglob('*') if p.is_file())


def _some_file(folder, random, largest=False):
  files = [p for p in _files(folder) if p.stat().st_size > 16]
  if largest:
    size = max(p.stat().st_size for p in files)
    files = [p for p in files if p.stat().st_size >= size / 2]
  return files[random.integers(len(files))]


def _some_json(folder, random):
  found = []
  for path in _files(folder):
    try:
      said = json.loads(path.read_text())
    except ValueError:
      continue
    if isinstance(said, dict | list):
      found.append((path, said))
  return found[random.integers(len(found))] if found else (None, None)


def _places(said, place=()):
  """Yields every place within a JSON value, with what is there."""
  yield place, said
  entries = ()
  if isinstance(said, dict):
    entries = said.items()
  elif isinstance(said, list):
    entries = enumerate(said)
  for key, inner in entries:
    yield from _places(inner, (*place, key))


def _change_json(folder, random, change):
  path, said = _some_json(folder, random)
  if path is None:
    return
  # The few entries near the top say more than the many below them.
  places = sorted((place for place, _ in _places(said) if place), key=len)
  first = [p for p in places if len(p) <= 2]
  among = first if first and random.integers(2) else places
  place = among[random.integers(len(among))]
  inner = said
  for key in place[:-1]:
    inner = inner[key]
  inner[place[-1]] = change(inner[place[-1]])
  path.write_text(json.dumps(said))


def _other_than(old, random):
  others = [x for x in _OTHER if type(x) is not type(old)]
  return others[random.integers(len(others))]


def seeded(seed):
  return np.random.default_rng(seed)
