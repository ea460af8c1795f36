"""What a log file says of a loop."""

from moe_lite.core import progress


def lines(capsys):
  return capsys.readouterr().err.splitlines()


def test_a_line_names_what_was_done(capsys):
  bar = progress.Progress(20, unit='task')
  bar.advance(6)
  bar.report('who, prompt blank', accuracy=63.333)
  (line,) = lines(capsys)
  assert line.startswith('task 6/20  who, prompt blank accuracy 63.33  ')


def test_lines_are_rare_unless_each_is_wanted(capsys):
  for period, wanted in ((progress.PERIOD, [1, 9]), (0.0, [1, 2, 3, 9])):
    bar = progress.Progress(9, period=period)
    for _ in range(3):
      bar.advance()
      bar.report(loss=1.0)
    bar.advance(6)
    bar.report()  # The last line is always there.
    assert [int(x.split()[1].split('/')[0]) for x in lines(capsys)] == wanted
