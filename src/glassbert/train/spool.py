"""A sequence of any length that takes little memory: what training data becomes between the file and the batches."""

from __future__ import annotations

import io
import pickle
import tempfile
import weakref
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Final, Generic, TypeVar, overload

ItemT = TypeVar("ItemT")

# Bytes that stay in memory; what is more goes to a file.
IN_MEMORY: Final = 2**28


class Every(Sequence[ItemT], Generic[ItemT]):
    """Every n-th item of a sequence, from some first one on, read when it is asked for."""

    def __init__(self, items: Sequence[ItemT], first: int, step: int) -> None:
        """Copy nothing."""
        self._items, self._places = items, range(first, len(items), step)

    def __len__(self) -> int:
        """How many items there are."""
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> ItemT: ...
    @overload
    def __getitem__(self, place: slice) -> list[ItemT]: ...
    def __getitem__(self, place: int | slice) -> ItemT | list[ItemT]:
        """Read one item, or several."""
        if isinstance(place, slice):
            return [self._items[one] for one in self._places[place]]
        return self._items[self._places[place]]


class Spool(Sequence[ItemT], Generic[ItemT]):
    """Items that were written once, in memory as long as they are few, else in a file without a name.

    Each item is pickled by itself; reading one takes some microseconds, a batch nothing beside its step. In memory
    remain eight bytes an item. The file lies where `tempfile` puts its own (`TMPDIR`), and goes with the process.

    Args:
        items: anything that can be pickled.
        in_memory: bytes from which on a file is used.
    """

    def __init__(self, items: Iterable[ItemT] = (), *, in_memory: int = IN_MEMORY) -> None:
        """Write the items."""
        self._file: IO[bytes] = io.BytesIO()
        self._in_memory = in_memory
        self._ends = array("Q", [0])
        for item in items:
            self.append(item)

    def append(self, item: ItemT) -> None:
        """Write one more."""
        end = self._ends[-1]
        if end > self._in_memory and isinstance(self._file, io.BytesIO):
            file = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the spool
            weakref.finalize(self, file.close)
            file.write(self._file.getbuffer())
            self._file = file
        self._file.seek(end)
        self._ends.append(end + self._file.write(pickle.dumps(item, pickle.HIGHEST_PROTOCOL)))

    def __len__(self) -> int:
        """How many items there are."""
        return len(self._ends) - 1

    @overload
    def __getitem__(self, place: int) -> ItemT: ...
    @overload
    def __getitem__(self, place: slice) -> list[ItemT]: ...
    def __getitem__(self, place: int | slice) -> ItemT | list[ItemT]:
        """Read one item, or several."""
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        count = len(self)
        if not -count <= place < count:
            raise IndexError(place)
        begin, end = self._ends[place % count], self._ends[place % count + 1]
        self._file.seek(begin)
        item: ItemT = pickle.loads(self._file.read(end - begin))
        return item

    def __iter__(self) -> Iterator[ItemT]:
        """Read all items in order."""
        for place in range(len(self)):
            yield self[place]
