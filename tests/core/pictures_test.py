"""Pictures take names as they are."""

import io

import pytest
from matplotlib.figure import Figure

from moe_lite.core.pictures import plain_text


@plain_text
def draw(name):
  figure = Figure()
  figure.subplots().set_title(name)
  file = io.BytesIO()
  figure.savefig(file, format='png')
  return file.getvalue()


@pytest.mark.parametrize('name', ['a $ b', '$x$ $\\nothing', '$a', r'\$_^{'])
def test_names_may_hold_anything(name):
  assert draw(name).startswith(b'\x89PNG')
