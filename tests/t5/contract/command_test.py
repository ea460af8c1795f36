"""The command: what it prints, and its exit codes."""

import re

import pytest

from moe_lite.t5.contract import command

BROKEN = 'tests.t5.contract.broken'


def run(capsys, *names):
  code = command.main(['contract', *names])
  said = capsys.readouterr()
  return code, said.out, said.err


def test_a_class_that_keeps_its_promises_ends_with_0(capsys):
  code, out, err = run(capsys, f'{BROKEN}:Fitting')
  assert code == 0 and not err
  assert out.startswith('Fitting at out, wo\n  ok        runs at its sites\n')
  assert out.endswith('All 9 promises are kept.\n')


def test_a_broken_promise_ends_with_1_and_what_to_do(capsys):
  code, out, err = run(capsys, f'{BROKEN}:Started')
  assert code == 1
  assert '  BROKEN    is the identity at initialisation' in out
  assert 'at query, out, wi_0, intermediate, wo: outputs change by up' in out
  assert 'To mend it: Draw the parameters so that' in out
  assert err.startswith('error: 8 of 9 promises are kept.')


def test_what_a_raising_class_did_not_show_is_said(capsys):
  code, out, _ = run(capsys, f'{BROKEN}:Raising')
  assert code == 1
  assert out.count('  not seen  ') == 8
  assert 'RuntimeError: no such luck' in ' '.join(out.split())


@pytest.mark.parametrize(
  ('names', 'message'),
  [
    ([], 'Give MODULE:CLASS, such as my_package.shift:Shift'),
    (['my_shift'], "'my_shift' does not name a class"),
    (['no_such.module:X'], "There is no module 'no_such'.*PYTHONPATH"),
    ([f'{BROKEN}:Shifd'], "has no 'Shifd'. Did you mean 'Shift'"),
    ([f'{BROKEN}:jnp'], 'neither an adapter nor a router.*Sharp'),
    ([f'{BROKEN}:Sized'], "argument: 'size'.*functools.partial"),
    (['--fast', 'a:b'], "Unknown command line flag 'fast'"),
  ],
)
def test_mistakes_end_with_2(capsys, names, message):
  code, _, err = run(capsys, *names)
  assert code == 2
  assert re.search(message, err), err


def test_a_module_that_lacks_another_is_named(capsys, tmp_path, monkeypatch):
  (tmp_path / 'lacking.py').write_text('import no_such_package\n')
  monkeypatch.syspath_prepend(str(tmp_path))
  code, _, err = run(capsys, 'lacking:Shift')
  assert code == 2
  assert 'lacking.py, line 1, `import no_such_package`, raised' in err


def test_help_says_how_it_is_called(capsys):
  code, out, _ = run(capsys, '--help')
  assert code == 0 and 'python -m moe_lite.t5.contract MODULE:CLASS' in out


@pytest.mark.slow
def test_a_router_is_checked_in_both_mixtures(capsys):
  code, out, _ = run(capsys, f'{BROKEN}:Sharp')
  assert code == 0
  titles = [line for line in out.splitlines() if line and line[0] == 'M']
  assert titles == ['MoV with Sharp', 'MoLoRA with Sharp']
  code, out, _ = run(capsys, f'{BROKEN}:Said')
  assert code == 0
  # MoV promises no identity where weights do not sum to one.
  assert out.count('is the identity') == 1
