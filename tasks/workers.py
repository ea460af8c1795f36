"""Parallel processes for the commands that make data."""

import contextlib
import importlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent import futures
from typing import Any

from absl import logging

from moe_lite.core.errors import UserError
from moe_lite.process import cli
from moe_lite.process.quiet_tensorflow import import_tensorflow


def each(
  function: Callable[[Any], Any],
  items: Sequence[Any],
  workers: int,
  modules: Sequence[str] = (),
  cache_dirs: Sequence[str] = (),
) -> Generator[tuple[Any, futures.Future], None, None]:
  """Calls a function for every item, and yields each when it is done.

  Args:
    function: of a module, so that a process can import it.
    items: that can be pickled.
    workers: processes; 0 or 1 calls the function in this one.
    modules: that a process imports first.
    cache_dirs: folders in which it looks for data.

  Yields:
    The item, and a future that has the result, or raises what was raised.

  Raises:
    UserError: if a process was killed.
  """
  if min(workers, len(items)) <= 1:
    for item in items:
      future: futures.Future = futures.Future()
      try:
        future.set_result(function(item))
      except Exception as error:
        future.set_exception(error)
      yield item, future
    return
  spawn = multiprocessing.get_context('spawn')
  pool = futures.ProcessPoolExecutor(
    workers, spawn, _start, (modules, cache_dirs)
  )
  running = {}
  try:
    with _inherited():
      for item in items:
        running[pool.submit(function, item)] = item
    for future in futures.as_completed(list(running)):
      item = running.pop(future)
      if isinstance(future.exception(), futures.BrokenExecutor):
        raise UserError(
          f'A worker was killed, at {item} or soon after. Fewer --workers take '
          'less memory. The same command goes on.'
        )
      yield item, future
  finally:
    for worker in multiprocessing.active_children():
      worker.kill()
    pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _inherited() -> Iterator[None]:
  """What this process is like while it starts others, which inherit it."""
  # Ctrl-C is for this process alone to answer.
  handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
  # A source that is read once a shard may follow the order of a set.
  before = os.environ.get('PYTHONHASHSEED')
  os.environ['PYTHONHASHSEED'] = '0'
  try:
    yield
  finally:
    signal.signal(signal.SIGINT, handler)
    del os.environ['PYTHONHASHSEED']
    if before is not None:
      os.environ['PYTHONHASHSEED'] = before


def _start(modules: Sequence[str], cache_dirs: Sequence[str]) -> None:
  """Makes this process a worker: one of many, hence of few threads."""
  threading.Thread(target=_end_with_parent, daemon=True).start()
  logging.set_verbosity(logging.ERROR)
  import_tensorflow()
  import tensorflow as tf

  tf.config.threading.set_inter_op_parallelism_threads(2)
  tf.config.threading.set_intra_op_parallelism_threads(2)
  cli.add_cache_dirs(cache_dirs)
  for module in modules:
    importlib.import_module(module)


def _end_with_parent() -> None:
  """A worker whose parent was killed would wait for work forever."""
  if parent := multiprocessing.parent_process():
    parent.join()
    os._exit(1)
