"""The next batch is read while the network computes the one before."""

from __future__ import annotations

import concurrent.futures
import itertools
from collections.abc import Iterable, Iterator
from typing import TypeVar

_T = TypeVar("_T")


def read_ahead(items: Iterable[_T]) -> Iterator[_T]:
    """The same items; each is made by a thread while the one before it is in use.

    What `items` raises is raised in the place of the item that it was to give.
    """
    remaining = iter(items)

    def following() -> list[_T]:
        return list(itertools.islice(remaining, 1))

    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(following)
        while item := waiting.result():
            waiting = thread.submit(following)
            yield item[0]
