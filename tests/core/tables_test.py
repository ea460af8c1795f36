"""Tables as text."""

from moe_lite.core.tables import table


def test_tables_line_up():
  lines = table(('a', 'b'), [('long name', '1'), ('x', '1000')])
  assert len({len(line) for line in lines.split('\n')}) == 1
  assert lines.split('\n')[1] == '| --------- | ---: |'
