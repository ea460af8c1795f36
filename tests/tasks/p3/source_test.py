"""P3 is read from both layouts alike, and says what is wrong with a copy."""

import gin
import jax
import numpy as np
import pytest
import sentencepiece
import seqio
import tensorflow as tf

from moe_lite.core import partitioning
from moe_lite.core.errors import UserError
from moe_lite.data import batches
from moe_lite.data import dataset as data
from moe_lite.process import cli
from tasks import cache, cached
from tasks.mini import vocabulary
from tasks.p3 import source, suite, table  # noqa: F401  registers P3
from tests.tasks.p3 import rows as p3_rows
from tests.tasks.p3 import synthetic

TRAIN = 'cos_e_v1.11_question_option_description_text'
FREE = 'adversarial_qa_dbert_based_on'
TWIN = 'super_glue_cb_can_we_infer_score_eval'
PUBLISHED = (TRAIN, FREE, TWIN)
LENGTHS = {'inputs': 64, 'targets': 16}


@pytest.fixture(autouse=True)
def folders(monkeypatch):
  """Restores SeqIO's folders, what tasks remember of them, and gin."""
  before = list(seqio.get_global_cache_dirs())
  gin.clear_config()
  yield
  gin.clear_config()
  seqio.set_global_cache_dirs(before)
  for name in PUBLISHED:
    seqio.TaskRegistry.get(name)._cache_dir = None
    seqio.TaskRegistry.get(name)._stats.clear()


@pytest.fixture(params=['tfrecord', 'tfrecord under data/', 'parquet'])
def copy(request, tmp_path):
  """A folder with a copy of P3 in each layout."""
  inner = tmp_path / 'data' if 'data' in request.param else tmp_path
  for name in PUBLISHED:
    if request.param == 'parquet':
      for split, number in (('train', 7), ('validation', 3)):
        rows = p3_rows.rows(name, split, number)
        synthetic.write_parquet(tmp_path, name, split, rows, 2)
    else:
      p3_rows.write_cache(inner, name, {'train': 7, 'validation': 3})
  seqio.add_global_cache_dirs([str(tmp_path)])
  return tmp_path


def read(name, split='train', **options):
  return data.read(seqio.get_mixture_or_task(name), split, LENGTHS, **options)


@pytest.mark.parametrize('name', PUBLISHED)
def test_rows_are_read_as_they_were_written(copy, name):
  found = read(name, 'validation')
  written = p3_rows.rows(name, 'validation', 3)
  assert len(found) == len(written)
  for one, row in zip(found, written, strict=True):
    assert one.keys() == row.keys()
    for key, value in row.items():
      if key == 'answer_choices':
        assert [choice.decode() for choice in one[key]] == value
      elif isinstance(value, str):
        assert one[key].decode() == value
      else:
        assert one[key].dtype == np.asarray(value).dtype
        np.testing.assert_array_equal(one[key], value)


def test_rows_to_train_on_are_ids_alone(copy):
  found = read(TRAIN)
  written = p3_rows.rows(TRAIN, 'train', 7)
  for one, row in zip(found, written, strict=True):
    assert one.keys() == {'inputs', 'targets'}
    for key, ids in one.items():
      np.testing.assert_array_equal(ids, row[key])


def test_shards_hold_each_row_once(copy):
  task = seqio.get_mixture_or_task(TRAIN)
  found = []
  for i in range(3):
    shard = task.get_dataset(
      LENGTHS, shuffle=False, shard_info=seqio.ShardInfo(i, 3)
    )
    found += [r['inputs'].tobytes() for r in shard.as_numpy_iterator()]
  wanted = [r['inputs'].tobytes() for r in p3_rows.rows(TRAIN, 'train', 7)]
  assert sorted(found) == sorted(wanted)


def test_stock_seqio_reads_a_cache_too(tmp_path):
  p3_rows.write_cache(tmp_path, TWIN, {'validation': 3})
  seqio.add_global_cache_dirs([str(tmp_path)])
  for use_cached in (False, True):
    rows = read(TWIN, 'validation', use_cached=use_cached)
    assert [bool(r['is_correct']) for r in rows] == [
      r['is_correct'] for r in p3_rows.rows(TWIN, 'validation', 3)
    ]


def test_text_is_tokenized_with_another_vocabulary(copy):
  use_mini_vocabulary()
  mini = vocabulary.vocabulary()
  for name in PUBLISHED:
    for one in read(name):
      text = one['inputs_pretokenized'].decode()
      assert one['inputs'].tolist() == mini.encode(text)[: LENGTHS['inputs']]
      target = one['targets_pretokenized'].decode().strip()
      assert one['targets'].tolist() == [*mini.encode(target), 1]
  feature = seqio.get_mixture_or_task(TRAIN).output_features['inputs']
  assert feature.vocabulary.vocab_size == mini.vocab_size


def test_a_twin_that_was_not_published_is_made_from_its_task(copy):
  use_mini_vocabulary()
  rows = read(f'{TRAIN}_score_eval')
  base = p3_rows.rows(TRAIN, 'train', 7)
  assert len(rows) == sum(len(row['answer_choices']) for row in base)
  for row in rows:
    example, choice = row['idx']
    target = row['targets_pretokenized'].decode()
    of = base[example]
    assert of['answer_choices'][choice] == target
    assert bool(row['is_correct']) == (
      target == of['targets_pretokenized'].strip()
    )
    assert row['inputs_pretokenized'].decode() == of['inputs_pretokenized']
  assert sum(bool(row['is_correct']) for row in rows) == 7


def test_a_made_twin_can_be_cached(copy, tmp_path_factory):
  use_mini_vocabulary()
  name = f'{TRAIN}_score_eval'
  out = tmp_path_factory.mktemp('made')
  argv = [
    'cache',
    *(f'--tasks={name}', '--module_import=tasks.p3', '--splits=validation'),
    *(f'--out={out}', f'--seqio_additional_cache_dirs={copy}', '--workers=0'),
  ]
  assert cli.guard(cache.cache, argv, None) == 0
  here = read(name, 'validation')
  seqio.add_global_cache_dirs([str(out)])
  cached_rows = read(name, 'validation', use_cached=True)
  seqio.TaskRegistry.get(name)._cache_dir = None
  key = lambda row: tuple(row['idx'])  # Files are interleaved.
  for one, other in zip(here, sorted(cached_rows, key=key), strict=True):
    np.testing.assert_equal(one, other)


def use_mini_vocabulary():
  bind(
    f'vocabulary.path = {vocabulary.PATH!r}',
    f'vocabulary.extra_ids = {vocabulary.EXTRA_IDS}',
  )


def bind(*lines):
  """What a gin file would bind in `p3_settings`."""
  head = 'from __gin__ import dynamic_registration\nfrom tasks import '
  body = '\n'.join(f'p3_settings.{line}' for line in lines)
  gin.parse_config(f'{head}p3_settings\n{body}')


def test_absent_p3_says_which_command_fetches_it_and_how_large_it_is():
  with pytest.raises(UserError, match='none were given') as caught:
    read(TRAIN)
  message = str(caught.value)
  assert 'python -m tasks.fetch_p3 --mixture=t0_train --out=DIR' in message
  assert '313 tasks, 102,864,371 rows' in message
  assert '--seqio_additional_cache_dirs=DIR' in message
  with pytest.raises(UserError, match='--mixture=t0_eval_score_eval'):
    read(TWIN)


def test_a_task_that_was_never_published_says_so():
  with pytest.raises(UserError, match='never published'):
    read('wino_bias_type1_anti_by_p_they_mean', 'test')


def test_a_missing_task_is_named(copy):
  name = 'ag_news_classify'
  with pytest.raises(UserError, match=f"'{name}' is not in.*{copy}.*fetch_p3"):
    read(name)


def damage(tmp_path, how):
  """One way to spoil a copy; returns what the message must say."""
  p3_rows.write_cache(tmp_path, TRAIN, {'train': 300, 'validation': 3})
  folder = tmp_path / TRAIN
  records = folder / 'train.tfrecord-00000-of-00001'
  if how == 'COMPLETED is lost':
    (folder / 'COMPLETED').unlink()
    return f'no file COMPLETED.*touch {folder}/COMPLETED'
  if how == 'the split has no rows':
    (folder / 'info.train.json').write_text('{}')
    return 'no rows in split'
  if how == 'the split is missing':
    (folder / 'info.train.json').unlink()
    return "no split 'train'.*only validation"
  if how == 'info is damaged':
    (folder / 'info.train.json').write_text('{"num')
    return 'damaged info.train.json'
  if how == 'a file is missing':
    records.unlink()
    return f'lacks {records.name}'
  if how == 'a file is empty':
    records.write_bytes(b'')
    return f'empty file, {records.name}'
  if how == 'the folder is empty':
    for file in folder.iterdir():
      file.unlink()
    return 'neither a SeqIO cache nor parquet'
  assert how == 'a file is cut short'
  records.write_bytes(records.read_bytes()[:-50])
  return f'{records} is damaged or cut short'


@pytest.mark.parametrize(
  'how',
  [
    'COMPLETED is lost',
    'the split has no rows',
    'the split is missing',
    'info is damaged',
    'a file is missing',
    'a file is empty',
    'the folder is empty',
    'a file is cut short',
  ],
)
def test_a_spoilt_copy_is_named_with_its_remedy(tmp_path, how):
  says = damage(tmp_path, how)
  seqio.add_global_cache_dirs([str(tmp_path)])
  with pytest.raises(UserError, match=says) as caught:
    read(TRAIN)
  message = str(caught.value)
  assert TRAIN in message and str(tmp_path / TRAIN) in message


def test_a_file_cut_short_ends_training_with_its_name(tmp_path):
  says = damage(tmp_path, 'a file is cut short')
  seqio.add_global_cache_dirs([str(tmp_path)])
  dataset = data.Dataset(TRAIN, LENGTHS, batch_size=4)
  stream = batches.Batches(dataset, partitioning.make_mesh(), seed=0)
  with pytest.raises(UserError, match=says):
    for _ in range(100):
      next(stream)


def test_a_stream_goes_on_where_it_was(copy):
  """By the saved position of a cache; parquet files are read again."""
  dataset = data.Dataset(TRAIN, LENGTHS, batch_size=2)
  open_stream = lambda: batches.Batches(
    dataset, partitioning.make_mesh((1, 1)), seed=0
  )
  stream = open_stream()
  next(stream), next(stream)
  position = stream.position()
  is_parquet = bool(list(copy.rglob('*.parquet')))
  assert bool(position) != is_parquet
  wanted = [next(stream) for _ in range(3)]
  again = open_stream()
  assert again.restore(position, 2) != is_parquet
  for batch in wanted:
    jax.tree.map(np.testing.assert_array_equal, next(again), batch)


def test_any_file_system_of_tensorflow_will_do(copy):
  remote = f'ram://{copy.name}'
  for path in copy.rglob('*'):
    if path.is_file():
      target = f'{remote}/{path.relative_to(copy)}'
      tf.io.gfile.makedirs(target.rpartition('/')[0])
      with tf.io.gfile.GFile(target, 'wb') as file:
        file.write(path.read_bytes())
  here = {name: read(name, 'validation') for name in PUBLISHED}
  seqio.set_global_cache_dirs([remote])
  for name in PUBLISHED:
    assert (
      remote
      in seqio.get_mixture_or_task(name).source.list_shards('validation')[0]
    )
    np.testing.assert_equal(read(name, 'validation'), here[name])


@pytest.mark.parametrize('how', ['a file is missing', 'a file is cut short'])
def test_a_spoilt_parquet_copy_is_named(tmp_path, how):
  rows = p3_rows.rows(TRAIN, 'train', 7)
  synthetic.write_parquet(tmp_path, TRAIN, 'train', rows, 2)
  seqio.add_global_cache_dirs([str(tmp_path)])
  file = tmp_path / TRAIN / 'train-00001-of-00002.parquet'
  if how == 'a file is missing':
    file.unlink()
  else:
    file.write_bytes(file.read_bytes()[:-20])
  with pytest.raises(UserError, match=TRAIN):
    read(TRAIN)


def test_a_vocabulary_that_cannot_be_read_is_named(copy):
  bind("vocabulary.path = '/nowhere/spm.model'")
  with pytest.raises(UserError, match='/nowhere/spm.model'):
    read(TRAIN)


def test_a_vocabulary_without_t5_s_special_ids_is_refused(tmp_path):
  p3_rows.write_cache(tmp_path, TRAIN, {'train': 7})
  seqio.add_global_cache_dirs([str(tmp_path)])
  model = tmp_path / 'other.model'
  with model.open('wb') as file:
    sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(['red green blue'] * 50),
      model_writer=file,
      vocab_size=13,
      hard_vocab_limit=False,
    )
  bind(f"vocabulary.path = '{model}'")
  with pytest.raises(UserError, match='has EOS 2 and padding -1'):
    read(TRAIN)


def test_a_whole_copy_is_taken_before_a_part(tmp_path):
  for name in ('part', 'whole'):
    p3_rows.write_cache(tmp_path / name, TRAIN, {'train': 7})
  (tmp_path / 'part' / TRAIN / 'COMPLETED').unlink()
  seqio.add_global_cache_dirs([str(tmp_path / n) for n in ('part', 'whole')])
  (file,) = seqio.TaskRegistry.get(TRAIN).source.list_shards('train')
  assert file.startswith(str(tmp_path / 'whole'))


def test_an_empty_file_of_several_is_damage(tmp_path):
  folder = tmp_path / TRAIN
  folder.mkdir()
  rows = p3_rows.rows(TRAIN, 'train', 4)
  stats = [
    cached.write_shard(folder, 'train', rows[i::2], i, 2) for i in range(2)
  ]
  spec = cached.features(source.signature(TRAIN))
  cached.finish_split(folder, 'train', spec, stats)
  cached.complete(folder)
  seqio.add_global_cache_dirs([str(tmp_path)])
  assert len(read(TRAIN)) == 4
  (folder / cached.file_name('train', 1, 2)).write_bytes(b'')
  with pytest.raises(
    UserError, match='has an empty file, train.tfrecord-00001'
  ):
    read(TRAIN)


def test_all_published_signatures_are_covered():
  kinds = {frozenset(source.signature(name)) for name in PUBLISHED}
  assert len(kinds) == 3
  assert all(table.published_rows(name) for name in PUBLISHED)
