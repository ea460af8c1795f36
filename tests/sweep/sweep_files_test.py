"""The files that a sweep leaves in its folder."""

import csv
import json

from moe_lite.sweep import rows, sweep_files
from tests.sweep.swept import row, swept


def test_all_files_are_written_and_named(tmp_path):
  found = swept([row('frozen base', 0, [40.0]), row('MoV', 10, [50.0, 51.0])])
  text = sweep_files.write('name', found, str(tmp_path / 'x'))
  written = {path.name for path in (tmp_path / 'x').iterdir()}
  assert written == {'sweep.md', 'sweep.png', 'sweep.csv', 'sweep.json'}
  assert all(name in text for name in written)
  content = json.loads((tmp_path / 'x' / sweep_files.JSON).read_text())
  assert content == json.loads(json.dumps(rows.to_json(found)))


def test_the_spreadsheet_has_a_number_in_every_column():
  variants = [
    row('MoV', 10, [50.0], training_seconds=3.0, seconds_per_step=0.5),
    row('IA3', 10, [1.0], average=None, columns={}, evaluation_seconds=None),
  ]
  mov, ia3 = csv.DictReader(sweep_files.spreadsheet(variants).splitlines())
  assert list(mov) == [
    *('variant', 'choice', 'trainable_parameters', 'base_parameters'),
    *('percent_of_base', 'seeds', 'average', 'half_interval', 'who'),
    *('who_half_interval', 'training_seconds', 'seconds_per_step'),
    *('evaluation_seconds', 'step_bytes'),
  ]
  assert mov['average'] == mov['who'] == '50.0' and not mov['half_interval']
  assert mov['training_seconds'] == '3.0' and mov['evaluation_seconds'] == '2.0'
  assert not ia3['average'] and not ia3['evaluation_seconds']
