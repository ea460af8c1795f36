"""Prepares the next piece of work while the present one is done."""

from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import TypeVar

Item = TypeVar('Item')
Made = TypeVar('Made')


def prepared(
  items: Iterable[Item], prepare: Callable[[Item], Made]
) -> Iterator[tuple[Item, Made]]:
  """Yields each item with what `prepare` makes of it.

  A thread prepares the next item, and no more, while the caller works with the
  present one. What `prepare` raises is raised where its item would be yielded.

  Args:
    items: the items.
    prepare: is called with one item after the other, in another thread.
  """
  with futures.ThreadPoolExecutor(1) as thread:
    before: tuple[Item, futures.Future[Made]] | None = None
    for item in items:
      begun = item, thread.submit(prepare, item)
      if before is not None:
        yield before[0], before[1].result()
      before = begun
    if before is not None:
      yield before[0], before[1].result()
