"""What PyArrow does not tell of the messages of an Arrow file: whether their buffers are compressed.

PyArrow unpacks the buffers of a batch as soon as it is read, to whatever size each says that it has. The head of a
message, which is a table of FlatBuffers, tells beforehand.

Source: https://arrow.apache.org/docs/format/Columnar.html, `Message.fbs`; https://flatbuffers.dev/internals
"""

from __future__ import annotations

from struct import unpack_from

MESSAGE_HEADER = 2
"""The field of a `Message` that holds the batch."""

DICTIONARY_DATA = 1
"""The field of a `DictionaryBatch` that holds a `RecordBatch`."""

COMPRESSION = 3
"""The field of a `RecordBatch` that is there where its buffers are compressed."""


def is_compressed(head: bytes, kind: str) -> bool:
    """Whether the buffers of a message are compressed, by its head and what `pyarrow.ipc.Message.type` says it is.

    Raises:
        struct.error: the head leads out of itself.
    """
    if kind not in ("record batch", "dictionary"):
        return False
    (root,) = unpack_from("<I", head)
    batch = _table(head, root, MESSAGE_HEADER)
    if batch is not None and kind == "dictionary":
        batch = _table(head, batch, DICTIONARY_DATA)
    return batch is not None and _table(head, batch, COMPRESSION) is not None


def _table(head: bytes, table: int, field: int) -> int | None:
    """Where the table begins to which a field of a table leads; None where the field is not there."""
    (back,) = unpack_from("<i", head, table)
    fields = table - back
    (size,) = unpack_from("<H", head, fields)
    place = 4 + 2 * field
    (offset,) = unpack_from("<H", head, fields + place) if place < size else (0,)
    if not offset:
        return None
    (ahead,) = unpack_from("<I", head, table + offset)
    return int(table + offset + ahead)
