"""Manifests, archives and tables that cannot be used: one message that names the file, and the row or column."""

from __future__ import annotations

import gzip
import io
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from patchlight.data import ImageDataModule
from patchlight.data.sources import Archive, Folders, Manifest, StoredSet, Table, arrow, manifest
from patchlight.errors import DataError


def load(source: StoredSet, pairing: Any = "paired") -> None:
    """As far as a training goes before its first batch."""
    ImageDataModule(pairing=pairing, source=source, load_size=8, image_size=8, num_workers=0).setup("fit")


def black_png() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(stream, "PNG")
    return stream.getvalue()


PNG = black_png()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n../x.png,y.png\n", r"pairs.csv: row 1 has a='../x.png', which leads out of .*data\.source\.folder=DIR"),
        ("a,b\nx.png,/etc/passwd\n", "pairs.csv: row 1 has b='/etc/passwd', which leads out of"),
        ("a,b\nC:\\x.png,y.png\n", "row 1 has a=.*, which leads out of"),
        ("a,c\nx.png,y.png\n", r"pairs.csv has no column b, which names images \(its columns: a, c\)"),
        ("a,b,split\nx.png,y.png,train\nx.png,y.png,fit\n", "row 2 has split='fit'; it should be one of train, val"),
        ("a,b\nx.png,y.png\n./x.png,y.png\n", r"rows 1 and 2 name the same image in column a: \./x.png"),
        ("a,b\nx.png,\n", "pairs.csv: row 1 has no b: a row of paired data names both"),
        ("a,b\nx.png\n", "pairs.csv: row 1 has 1 cells where the first line has 2 names"),
        ("a,b,a\nx.png,y.png,z.png\n", "pairs.csv has the column a twice"),
        ("a,b,A_path\nx.png,y.png,z.png\n", "pairs.csv has a column 'A_path', which cannot be the key of a batch"),
        ("a,b,class_id\nx.png,y.png,\n", "pairs.csv: row 1 has class_id='': fill it in"),
        ('a,b\n"x.png,y.png\n', r"pairs.csv is no CSV file in UTF-8 \(unexpected end of data\)"),
        ("a,b\n" + "x" * 200_000, "pairs.csv is no CSV file in UTF-8 .field larger than field limit"),
        ("a,b\nx.png,y.png\n", r"x.png cannot be read as an image \(No such file or directory\)"),
    ],
)  # fmt: skip
def test_a_manifest_that_cannot_be_used(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load(Manifest(tmp_path / "pairs.csv"))


def test_a_manifest_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "pairs.csv").open("wb") as file:
        file.truncate(1 << 31)
    with pytest.raises(DataError, match="pairs.csv has 2147483648 bytes, more than the 1073741824 of a manifest"):
        load(Manifest(tmp_path / "pairs.csv"))


def zipped(path: Path, entries: list[tuple[Any, bytes]]) -> None:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # of a name that is there twice
        for name, content in entries:
            archive.writestr(name, content)


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    return info


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([("../trainA/1.png", PNG)], r"set.zip: refused, '../trainA/1.png' in it leads out of the folder"),
        ([("/trainA/1.png", PNG)], "set.zip: refused, '/trainA/1.png' in it leads out"),
        ([("trainA/1.png", PNG), ("trainA/1.png", PNG)], "set.zip holds trainA/1.png twice"),
        ([("trainA/1.png", b"\0" * (100 << 20))], r"trainA/1.png is refused: it unpacks to over 20 times its own size"),
        ([("trainA/1.png", b""), ("trainB/1.png", PNG)], "trainA/1.png has no bytes: replace or remove it"),
        ([("trainA/1.png", b"text"), ("trainB/1.png", PNG)], r"1.png cannot be read as an image \(cannot identify"),
        ([(link("trainA/1.png"), b"/etc/passwd")], "set.zip/trainA/1.png is no plain file of the archive"),
        ([("trainA/1.png", PNG)], "trainA is there but .*trainB is not"),
        ([("1.png", PNG), ("2.png", PNG)], "2 lie in it directly: if they are pairs side by side, move them to"),
    ],
)  # fmt: skip
def test_a_zip_that_cannot_be_used(entries: list[tuple[Any, bytes]], message: str, tmp_path: Path) -> None:
    zipped(tmp_path / "set.zip", entries)
    with pytest.raises(DataError, match=message):
        load(Archive(tmp_path / "set.zip"))


def test_archives_that_are_damaged_or_compressed_as_a_whole(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        for i in range(20):
            info = tarfile.TarInfo(f"trainA/{i}.png")
            info.size = len(PNG)
            archive.addfile(info, io.BytesIO(PNG))
    whole = (tmp_path / "set.tar").read_bytes()
    packed = gzip.compress(whole)
    for content, message in (
        (packed, "set.tar is compressed as a whole, so its images cannot be read one by one: pack them as .zip"),
        (whole[:1500], "set.tar is damaged: after 1 images there is no mark of its end"),
        (whole[: 1024 * 5], "set.tar is damaged: after 5 images there is no mark of its end"),
        (whole[: 1024 * 5 - 300], "set.tar is damaged, or no zip or tar archive .unexpected end of data"),
        (b"x" * 5000, "set.tar is damaged, or no zip or tar archive"),
        (b"", "set.tar is damaged, or no zip or tar archive .empty file"),
    ):
        (tmp_path / "set.tar").write_bytes(content)
        with pytest.raises(DataError, match=message):
            load(Archive(tmp_path / "set.tar"))


def test_tables_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    cell = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    path_only = pa.array([{"bytes": None, "path": "/etc/passwd"}], cell)
    for columns, settings, message in (
        ({"a": [PNG], "t": ["x"]}, {}, "has no column b of encoded images: .*column_b should be one of a"),
        ({"a": [PNG], "b": [PNG]}, {"column_a": "x"}, "has no column x of encoded images: .*should be one of a, b"),
        ({"a": [PNG], "b": [PNG]}, {"conditions": ["x"]}, "has no column x of texts or numbers"),
        ({"a": [PNG], "b": [b""]}, {}, "set.parquet/b/0 has no bytes"),
        ({"a": [PNG], "b": [b"text"]}, {}, r"set.parquet/b/0 cannot be read as an image \(cannot identify"),
        ({"a": [PNG], "b": path_only}, {}, "b/0 holds no bytes of an image"),
        ({"a": ["x.png"], "b": ["y.png"]}, {}, "has no column b of encoded images: .*another file"),
    ):  # fmt: skip
        pq.write_table(pa.table(columns), path)
        with pytest.raises(DataError, match=message):
            load(Table(path, **settings), "paired")  # type: ignore[arg-type]
    pq.write_table(pa.table({"a": [PNG], "b": [PNG]}), path)
    whole = path.read_bytes()
    middle, end = bytearray(whole), bytearray(whole)
    middle[20:120], end[-150:-20] = bytes(100), bytes(130)
    for content in (whole[:100], bytes(middle), bytes(end), b"PAR1"):
        path.write_bytes(content)
        with pytest.raises(DataError, match="set.parquet (cannot be read|is damaged, or no Parquet or Arrow file)"):
            load(Table(path))


def bomb(path: Path, column: str, value: bytes | str, rows: int, **others: Any) -> Path:
    """A Parquet file of some rows that share one large value, which it holds once."""
    shared = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([value]))
    pq.write_table(pa.table({column: shared, **others}), path, dictionary_pagesize_limit=1 << 30, store_schema=False)
    return path


def test_parquet_that_unpacks_to_far_more_than_it_has(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Gigabytes each of some kilobytes, of which hardly more than the bound is ever unpacked."""
    monkeypatch.setattr(arrow, "MAX_GROUP", 20_000_000)
    images = bomb(tmp_path / "images.parquet", "a", bytes(1_000_000), 2_000, b=pa.array([PNG] * 2_000))
    assert images.stat().st_size < 2_000_000
    began = pa.total_allocated_bytes()
    with pytest.raises(
        DataError, match="images.parquet: column a unpacks to over .* bytes, and at most .* row_group_size"
    ):
        load(Table(images))
    assert pa.default_memory_pool().max_memory() - began < 300_000_000
    texts = bomb(tmp_path / "texts.parquet", "a", "x" * 100_000, 20_000, b=pa.array(["y.png"] * 20_000))
    monkeypatch.setattr(manifest, "MAX_BYTES", 10_000_000)
    with pytest.raises(DataError, match=r"texts\.parquet: column a has more than 10000000 bytes of text: split it"):
        load(Manifest(texts))
    assert pa.default_memory_pool().max_memory() - began < 300_000_000
    monkeypatch.setattr(arrow, "MAX_ROWS", 1000)
    with pytest.raises(DataError, match=r"texts\.parquet says that it has 20000 rows, more than the 1000"):
        load(Manifest(texts))
    many = bomb(tmp_path / "many.parquet", "a", PNG, 10_000_000, b=pa.nulls(10_000_000, pa.binary()))
    with pytest.raises(DataError, match="many.parquet is damaged: it says that it has 10000000 rows of images in"):
        load(Table(many))


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
@pytest.mark.parametrize("stream", [False, True])
def test_compressed_arrow_files_are_refused_before_they_are_unpacked(
    compression: str, stream: bool, tmp_path: Path
) -> None:
    """A file of some kilobytes that would be a third of a gigabyte, and small ones, of which a batch is compressed."""
    path = tmp_path / "set.arrow"
    large, small = ([PNG + bytes(count)] for count in (300_000_000, 0))
    texts = pa.DictionaryArray.from_arrays(pa.array([0], pa.int8()), pa.array(["x" * 1000]))
    for columns in ({"a": large, "b": [PNG]}, {"a": small, "b": [PNG]}, {"a": small, "b": [PNG], "text": texts}):
        table = pa.table(columns)
        options = pa.ipc.IpcWriteOptions(compression=compression)
        with pa.OSFile(str(path), "wb") as sink:
            make = pa.ipc.new_stream if stream else pa.ipc.new_file
            with make(sink, table.schema, options=options) as writer:
                writer.write_table(table)
        del table, columns
        usual = pa.default_memory_pool()
        counted = pa.proxy_memory_pool(usual)
        pa.set_memory_pool(counted)
        try:
            with pytest.raises(DataError, match="set.arrow is compressed, so its images cannot be read one by one"):
                load(Table(path))
        finally:
            pa.set_memory_pool(usual)
        assert counted.max_memory() < 1_000_000


def test_rows_that_an_arrow_file_has_no_room_for(tmp_path: Path) -> None:
    path = tmp_path / "set.arrow"
    table = pa.table({"a": [PNG] * 777, "b": [PNG] * 777})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content, rows = path.read_bytes(), (777).to_bytes(8, "little")
    assert content.count(rows) >= 3  # of the batch, and of its two columns
    path.write_bytes(content.replace(rows, (1 << 40).to_bytes(8, "little")))
    with pytest.raises(DataError, match=r"set\.arrow is damaged: it says that it has 1099511627776 rows of images in"):
        load(Table(path))


def test_offsets_that_lead_out_of_an_arrow_file(tmp_path: Path) -> None:
    path = tmp_path / "set.arrow"
    table = pa.table({"a": [PNG] * 3, "b": [PNG] * 3})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    load(Table(path))
    offsets = np.arange(4, dtype=np.int32) * len(PNG)
    outside = offsets.copy()
    outside[1] = 1 << 20
    assert path.read_bytes().count(offsets.tobytes()) == 2
    path.write_bytes(path.read_bytes().replace(offsets.tobytes(), outside.tobytes()))
    with pytest.raises(DataError, match="set.arrow is damaged, or no Parquet or Arrow file"):
        load(Table(path))


def test_folders_in_the_wrong_place_are_told_where_to_go(tmp_path: Path) -> None:
    (tmp_path / "A").mkdir()
    (tmp_path / "B").mkdir()
    (tmp_path / "A/1.png").write_bytes(PNG)
    with pytest.raises(DataError, match=r"move the images of .*/A to .*/trainA, and those of .*/B to .*/trainB"):
        load(Folders(tmp_path))
