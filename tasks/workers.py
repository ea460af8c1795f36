"""Parallel processes for the commands that write data."""

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
  """Calls a function for every item, and yields each item when it is done.

  Args:
    function: a function of a module, which every process can import.
    items: items that can be pickled.
    workers: the number of processes. With 0 or 1, the function is called in
      this process.
    modules: the modules that a process imports first.
    cache_dirs: the folders in which a process looks for data.

  Yields:
    The item, and a future that has the function's result, or its error.

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
          f'A worker was killed at {item}, or soon after it. Fewer --workers '
          'take less memory. The same command goes on.'
        )
      yield item, future
  finally:
    for worker in multiprocessing.active_children():
      worker.kill()
    pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _inherited() -> Iterator[None]:
  """Sets what the processes that are started now will inherit."""
  # Only this process answers Ctrl-C.
  handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
  # A source that is read once for each shard may follow the order of a set.
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
  """Makes this process a worker. It takes few threads, since there are many."""
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
  """Ends this worker when its parent ends.

  A worker whose parent was killed would wait for work forever.
  """
  if parent := multiprocessing.parent_process():
    parent.join()
    os._exit(1)
