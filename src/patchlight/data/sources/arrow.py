"""Parquet and Arrow files by PyArrow, whose errors become one message about the file.

Files are mapped into memory: processes that are forked share no place in them, and pages that were read can be dropped.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from patchlight.data.sources.arrow_messages import is_compressed
from patchlight.errors import DataError

MAX_GROUP = 1 << 31
"""Bytes of a row group that is read at once, by what its head says and of one column as it turns out."""

MAX_ROWS = 1 << 25
"""Of a table whose cells are all kept in memory."""

TOO_LARGE = f"and at most {MAX_GROUP} are read at once: write it with row_group_size=100"

BATCH = 1 << 14
"""Rows of texts and numbers that are read at once."""

KEPT = 1 << 28
"""Bytes of row groups that a process keeps, besides the one in use."""

INDEXED = b"ARROW1\0\0"
"""How an Arrow file begins that has an index of its batches at the end."""


@lru_cache
def module(name: str) -> Any:
    """PyArrow, or one of its modules, which tables of images alone need.

    Raises:
        DataError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError:
        raise DataError("Parquet and Arrow files need PyArrow: pip install 'patchlight[tables]'") from None


@contextmanager
def one_message(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong with a file into one DataError that names it."""
    try:
        yield
    except DataError:
        raise
    except MemoryError:
        raise DataError(f"{path} needs more memory than there is: write it with smaller row groups") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or _line(error)})") from None
    except Exception as error:  # those of PyArrow have no common ancestor of their own
        raise DataError(f"{path} is damaged, or no Parquet or Arrow file ({_line(error)})") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def is_parquet(path: Path) -> bool:
    """Whether a file begins as Parquet files do."""
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


@contextmanager
def open_parquet(path: Path, as_dictionaries: Sequence[str] = ()) -> Iterator[Any]:
    """A `pyarrow.parquet.ParquetFile`; of the columns `as_dictionaries` values that come again are kept once.

    Raises:
        DataError: PyArrow is not installed, or the file is damaged; within the context, too.
    """
    parquet = module("pyarrow.parquet")
    with (
        one_message(path),
        parquet.ParquetFile(path, memory_map=True, read_dictionary=list(as_dictionaries)) as file,
    ):
        yield file


def read_plain_columns(path: Path, names: Sequence[str], max_bytes: int) -> dict[str, list[Any]]:
    """All cells of columns of texts and numbers, of texts no more than `max_bytes` each.

    A few bytes of a file may stand for any number of long texts. So texts are counted before they are made.

    Raises:
        DataError: the file is damaged, or holds more.
    """
    pyarrow, compute = module("pyarrow"), module("pyarrow.compute")
    found: dict[str, list[Any]] = {name: [] for name in names}
    left = dict.fromkeys(names, max_bytes)
    with open_parquet(path) as file:
        rows = sum(size for _, size in _groups(path, file))
        if rows > MAX_ROWS:
            raise DataError(f"{path} says that it has {rows} rows, more than the {MAX_ROWS} that are read: split it")
        texts = [field.name for field in file.schema_arrow if not module("pyarrow.types").is_primitive(field.type)]
    with open_parquet(path, texts) as file:
        for batch in file.iter_batches(BATCH, columns=list(names), use_threads=False):
            for name in names:
                cells = batch.column(name)
                if isinstance(cells, pyarrow.DictionaryArray):
                    lengths = compute.binary_length(cells.dictionary).take(cells.indices)
                    left[name] -= compute.sum(lengths.cast(pyarrow.int64())).as_py() or 0
                    if left[name] < 0:
                        raise DataError(f"{path}: column {name} has more than {max_bytes} bytes of text: split it")
                found[name] += cells.to_pylist()
    return found


def is_plain(kind: Any) -> bool:
    """Whether a column of this type holds texts or numbers."""
    types = module("pyarrow.types")
    return any(
        check(kind) for check in (types.is_string, types.is_large_string, types.is_integer, types.is_floating)
    )  # fmt: skip


def is_encoded(kind: Any) -> bool:
    """Whether a column of this type holds encoded images: bytes, or what the library `datasets` has as `Image`."""
    types = module("pyarrow.types")
    if types.is_struct(kind):
        return any(kind.field(i).name == "bytes" and is_encoded(kind.field(i).type) for i in range(kind.num_fields))
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


class TableFile:
    """The rows of a Parquet or Arrow file, in groups that are read one at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with one_message(path):
            self.is_parquet = is_parquet(path)
        self.schema, rows = _parquet_layout(path) if self.is_parquet else _arrow_layout(path)
        room = path.stat().st_size
        if sum(rows) > room:
            raise DataError(f"{path} is damaged: it says that it has {sum(rows)} rows of images in {room} bytes")
        self.ends = np.cumsum(rows, dtype=np.int64)
        """The number of rows up to the end of each group."""

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def place(self, row: int) -> tuple[int, int]:
        """The group of a row, and its place in it."""
        group = int(np.searchsorted(self.ends, row, side="right"))
        return group, row - (int(self.ends[group - 1]) if group else 0)


def _parquet_layout(path: Path) -> tuple[Any, list[int]]:
    with open_parquet(path) as file:
        sizes = _groups(path, file)
        for size, _ in sizes:
            if size > MAX_GROUP:
                raise DataError(f"{path} has a row group of {size} bytes, {TOO_LARGE}")
        return file.schema_arrow, [size for _, size in sizes]


def _groups(path: Path, file: Any) -> list[tuple[int, int]]:
    """The bytes and rows of each row group, as the head of a file says, which is wrong where they are negative."""
    groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
    found = [(group.total_byte_size, group.num_rows) for group in groups]
    if any(min(sizes) < 0 for sizes in found):
        raise DataError(f"{path} is damaged: it says that a row group has less than no bytes or rows")
    return found


def _arrow_layout(path: Path) -> tuple[Any, list[int]]:
    with one_message(path):
        stream = module("pyarrow.ipc").open_stream(_arrow_messages(path))
        return stream.schema, [len(batch) for batch in _arrow_batches(path)]


def _arrow_messages(path: Path) -> Any:
    """An Arrow file where its messages begin: at once in a stream, as `datasets` writes it, or after a mark."""
    mapped = module("pyarrow").memory_map(str(path))
    mapped.seek(len(INDEXED) if mapped.read(len(INDEXED)) == INDEXED else 0)
    return mapped


def _arrow_batches(path: Path) -> list[Any]:
    """The record batches of an Arrow file, which stay in the file until they are looked at."""
    ipc = module("pyarrow.ipc")
    for message in ipc.MessageReader.open_stream(_arrow_messages(path)):
        if is_compressed(message.metadata.to_pybytes(), message.type):
            raise DataError(f"{path} is compressed, so its images cannot be read one by one: write it uncompressed")
    return list(ipc.open_stream(_arrow_messages(path)))


class Columns:
    """Columns of several files as arrays, read where they are asked for.

    Groups of Parquet are kept, up to KEPT bytes. Pickled, as for another process, it is a new one.
    """

    def __init__(self) -> None:
        self._groups: OrderedDict[tuple[Path, int, str], Any] = OrderedDict()
        self._refused: dict[tuple[Path, int, str], str] = {}
        self._batches: dict[Path, list[Any]] = {}
        self._validated: set[tuple[Path, int]] = set()
        self._lock = Lock()

    def __reduce__(self) -> tuple[type[Columns], tuple[()]]:
        return Columns, ()

    def value(self, file: TableFile, column: str, row: int) -> Any:
        """The Arrow scalar of a row."""
        group, place = file.place(row)
        with one_message(file.path), self._lock:
            if file.is_parquet:
                return self._group(file, group, column)[place]
            if file.path not in self._batches:
                self._batches[file.path] = _arrow_batches(file.path)
            batch = self._batches[file.path][group]
            if (file.path, group) not in self._validated:
                batch.validate(full=True)  # offsets of a damaged file would lead out of it
                self._validated.add((file.path, group))
            return batch.column(column)[place]

    def _group(self, file: TableFile, group: int, column: str) -> Any:
        key = (file.path, group, column)
        if key in self._groups:
            self._groups.move_to_end(key)
            return self._groups[key]
        if key in self._refused:
            raise DataError(self._refused[key])
        try:
            read = _read_group(file, group, column)
        except DataError as error:
            self._refused[key] = str(error)  # each of its rows is asked for, and would unpack it again
            raise
        self._groups[key] = read
        while len(self._groups) > 1 and sum(kept.nbytes for kept in self._groups.values()) > KEPT:
            self._groups.popitem(last=False)
        return read


def _read_group(file: TableFile, number: int, column: str) -> Any:
    """A column of a row group, of images only their bytes.

    It is read row by row and counted, because a page may unpack to any size, and rows may share one large value.
    """
    pyarrow = module("pyarrow")
    kind = file.schema.field(column).type
    leaf = f"{column}.bytes" if isinstance(kind, pyarrow.StructType) else column
    found, left = [], MAX_GROUP
    with open_parquet(file.path) as opened:
        for batch in opened.iter_batches(1, row_groups=[number], columns=[leaf], use_threads=False):
            found.append(batch.column(column))
            left -= found[-1].nbytes
            if left < 0:
                raise DataError(f"{file.path}: column {column} unpacks to over {MAX_GROUP} bytes, {TOO_LARGE}")
    wanted = int(file.ends[number]) - (int(file.ends[number - 1]) if number else 0)
    if len(found) != wanted:
        raise DataError(f"{file.path} is damaged: row group {number} has {len(found)} rows, and says {wanted}")
    return pyarrow.chunked_array(found)


def encoded_bytes(value: Any) -> Any:
    """The buffer of an encoded image, or None where the cell has none."""
    if value.is_valid and isinstance(value, module("pyarrow").StructScalar):
        value = value["bytes"]
    return value.as_buffer() if value.is_valid else None
