"""The training curve: what stands on its axes."""

import json

import pytest

from moe_lite.training import run_folder
from moe_lite.training.curve import training_curve
from tests import figures


def write(path, name, lines):
  text = ''.join(json.dumps(line) + '\n' for line in lines)
  (path / name).write_text(text)


def draw(path, steps, validations=()):
  path.mkdir(parents=True)
  lines = [{'step': i, 'loss': 8 / i, 'accuracy': 0.25} for i in steps]
  write(path, run_folder.METRICS, lines)
  if validations:
    write(path, run_folder.VALIDATION, validations)
  return figures.drawn(training_curve, str(path))


@pytest.mark.parametrize(
  'steps', [[1], [10], range(25, 201, 25), range(100, 500_001, 10_000)]
)
def test_axes_have_names_units_and_labels_that_do_not_collide(steps, tmp_path):
  figure = draw(tmp_path / 'runs/mov', steps)
  loss, accuracy = figure.axes
  assert loss.get_ylabel() == 'loss, nats a token'
  assert loss.get_yscale() == 'log' and loss.get_xscale() == 'symlog'
  assert accuracy.get_ylabel().endswith(', %')
  assert accuracy.get_ylim() == (0, 100)
  assert set(accuracy.lines[0].get_ydata()) == {25}
  assert 'runs/mov' in figures.words(figure)
  last = [x.get_text() for x in loss.get_xticklabels()][-1]
  assert last == str(max(steps))
  assert not figures.collisions(figure)


def test_validation_stands_beside_training_from_step_0_on(tmp_path):
  validations = [
    {'step': 0, 'loss': 9.0, 'accuracy': 40.0},
    {'step': 50, 'loss': 1.0, 'accuracy': 60.0},
  ]
  figure = draw(tmp_path / 'run', [25, 50], validations)
  loss, _, accuracy = figure.axes
  assert [list(x.get_ydata()) for x in loss.lines] == [[8 / 25, 8 / 50], [9, 1]]
  # Colour is not all that tells them apart.
  assert len({x.get_linestyle() for x in loss.lines}) == 2
  assert list(accuracy.lines[0].get_xdata()) == [0, 50]
  assert list(accuracy.lines[0].get_ydata()) == [40, 60]
  assert accuracy.get_xlim() == (0, 50)
  assert not figures.collisions(figure)


def test_a_validation_without_choices_has_no_panel_of_accuracy(tmp_path):
  figure = draw(tmp_path / 'run', [25, 50], [{'step': 50, 'loss': 1.0}])
  assert len(figure.axes) == 2
