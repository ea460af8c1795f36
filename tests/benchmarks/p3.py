"""What T0's training mixture costs to import, to build and to hold.

  python -m tests.benchmarks.p3 [--rows=300] [--tokens=300]

Writes a synthetic copy of all 313 tasks of `t0_train` with that many rows a
task, of that many tokens, to a temporary folder; builds the mixture, reads
packed batches, saves the position. Prints a line of JSON.
"""

import json
import os
import resource
import tempfile
import time

from absl import app, flags

_ROWS = flags.DEFINE_integer('rows', 300, 'Rows a task.')
_TOKENS = flags.DEFINE_integer('tokens', 300, 'Tokens of a row.')
_BATCHES = flags.DEFINE_integer('batches', 50, 'Batches of 32 rows to read.')


def main(_) -> None:
  found = {'rows_a_task': _ROWS.value, 'tokens_a_row': _TOKENS.value}

  def measure(name: str, start: float) -> None:
    found[f'{name}_s'] = round(time.perf_counter() - start, 2)
    found[f'{name}_mib'] = round(memory())

  start = time.perf_counter()
  import seqio

  measure('import_seqio', start)
  start = time.perf_counter()
  from tasks.p3 import suite, table

  measure('import_tasks_p3', start)
  found['registered'] = len(seqio.TaskRegistry.names())
  assert suite

  from moe_lite.data import batches
  from moe_lite.data.dataset import Dataset, load
  from tasks import cached
  from tasks.p3 import source
  from tests.tasks.p3 import rows

  with tempfile.TemporaryDirectory() as folder:
    for name in table.members('t0_train'):
      path = os.path.join(folder, name)
      os.mkdir(path)
      text = ' '.join(f'{name}{i}' for i in range(_TOKENS.value))[
        : 4 * _TOKENS.value
      ]
      row = rows.rows(name, 'train', 1)[0] | {'inputs_pretokenized': text}
      row['inputs'] = rows.ids(
        ' '.join('abcdefgh'[i % 8] for i in range(_TOKENS.value))
      )
      stats = cached.write_shard(path, 'train', [row] * _ROWS.value)
      spec = cached.features(source.signature(name))
      cached.finish_split(path, 'train', spec, [stats])
      cached.complete(path)
    seqio.add_global_cache_dirs([folder])
    dataset = Dataset(
      't0_train', {'inputs': 1024, 'targets': 256}, batch_size=32, data_shards=1
    )
    start = time.perf_counter()
    loaded = load(dataset, 0)
    measure('build', start)
    iterator = iter(loaded)
    start = time.perf_counter()
    next(iterator)
    measure('first_batch', start)
    start = time.perf_counter()
    for _ in range(_BATCHES.value):
      next(iterator)
    measure('batches', start)
    found['batches_a_second'] = round(_BATCHES.value / found['batches_s'], 1)
    shard = batches.Shard(dataset, 0, 0)
    next(shard)
    start = time.perf_counter()
    found['position_file_mib'] = round(len(shard.position()) / 2**20, 1)
    measure('position', start)
  found['peak_mib'] = round(
    resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
  )
  print(json.dumps(found))


def memory() -> float:
  """Resident memory of this process, in MiB."""
  with open('/proc/self/statm') as file:
    return int(file.read().split()[1]) * resource.getpagesize() / 2**20


if __name__ == '__main__':
  app.run(main)
