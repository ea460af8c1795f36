"""P3 is fetched from a hub on this machine, faults and all."""

import huggingface_hub
import pytest
import seqio

from tests.tasks.p3 import copies

pytestmark = pytest.mark.usefixtures('own_cache_dirs', 'small_table')


@pytest.mark.parametrize(
  'faults',
  [['cut'], ['cut', 'cut'], ['reset'], [429], [500, 429], ['wrong size']],
)
def test_a_passing_fault_is_survived(hub, tmp_path, capsys, faults):
  hub.faults[f'{copies.TRAIN}/train-00001-of-00002.parquet'] += faults
  code, said = copies.fetch(tmp_path, capsys, tasks=[copies.TRAIN])
  if faults == ['wrong size'] and code:  # Refused, and the next call mends it.
    assert 'train-00001' in said
    code, said = copies.fetch(tmp_path, capsys, tasks=[copies.TRAIN])
  assert code == 0, said
  seqio.add_global_cache_dirs([str(tmp_path)])
  assert len(copies.read(copies.TRAIN)) == copies.ROWS['train']


@pytest.mark.parametrize('times, code', [(1, 0), (9, 2)])
def test_the_hub_s_other_way_to_send_files_may_fail(
  hub, tmp_path, capsys, monkeypatch, times, code
):
  """Its client for large files raises RuntimeError, whatever has happened."""
  download = huggingface_hub.hf_hub_download
  left = [times]

  def fail(*arguments, **options):
    if left[0]:
      left[0] -= 1
      raise RuntimeError('Task error: error sending request')
    return download(*arguments, **options)

  monkeypatch.setattr(huggingface_hub, 'hf_hub_download', fail)
  found, said = copies.fetch(tmp_path, capsys, tasks=[copies.TRAIN])
  assert found == code
  told = 'cannot be downloaded: Task error: error sending request' in said
  assert told == bool(code)


def test_a_file_that_is_not_there_is_asked_for_once(hub, tmp_path, capsys):
  file = f'{copies.TRAIN}/train-00000-of-00002.parquet'
  hub.faults[file] += [404] * 9
  assert copies.fetch(tmp_path, capsys, tasks=[copies.TRAIN])[0] == 2
  assert hub.requests['GET', file] == 1


@pytest.mark.parametrize('fault', ['cut', 404, 500])
def test_a_lasting_fault_leaves_the_others_and_the_next_call_goes_on(
  hub, tmp_path, capsys, fault
):
  file = f'{copies.FREE}/validation-00000-of-00001.parquet'
  hub.faults[file] += [fault] * 50
  code, said = copies.fetch(tmp_path, capsys)
  assert code == 2
  assert (
    f'1 of 3 tasks are not there:\n  {copies.FREE}: {file} cannot be down'
    in said
  )
  assert 'The same command tries them again' in said
  hub.faults.clear()
  hub.requests.clear()
  code, said = copies.fetch(tmp_path, capsys)
  assert code == 0 and '2 of 3 tasks are there already' in said
  # What was whole is not fetched again, not even of the task that failed.
  assert hub.downloads() == [file]


def test_no_hub_gives_one_message(tmp_path, capsys, monkeypatch):
  monkeypatch.setenv('HF_ENDPOINT', 'http://127.0.0.1:9')
  code, said = copies.fetch(tmp_path, capsys)
  assert code == 2 and 'the hub cannot be reached: [Errno' in said
