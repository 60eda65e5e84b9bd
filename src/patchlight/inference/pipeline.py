"""Many files through a translator: threads decode and encode while the network computes."""

from __future__ import annotations

import math
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from patchlight.errors import DataError
from patchlight.inference.files import read_content, read_instances, write_picture, write_pixels
from patchlight.inference.jobs import Job
from patchlight.inference.patch_scorer import PatchScorer, as_picture
from patchlight.inference.pixels import Array, Pixels, to_arrays, to_values, white
from patchlight.inference.translator import Translator
from patchlight.methods.inference import image_seed
from patchlight.networks import Maps

AT_ONCE = {"cpu": 2**18, "cuda": 2**22}
"""Pixels in a batch whose size is chosen automatically, by kind of device: 4 and 64 images of 256 px."""

WAITING_BATCHES = 4
"""Batches' worth of decoded images that may wait for others of their size, or of results to be written."""

WAITING_PIXELS = 2**25
"""Pixels from which no further image is read ahead, and results are waited for: a few photos of a camera."""

MAX_THREADS = 8

LOW_PRIORITY = 10
"""Niceness of the threads that decode and encode where the network computes on the same cores."""


@dataclass(frozen=True)
class Failure:
    """A file that could not be translated, and why."""

    source: Path
    reason: str


@dataclass(frozen=True)
class Decoded:
    """An image on its way to the network."""

    job: Job
    pixels: Pixels
    array: Array
    """As the network takes it: H W C."""


def translate_files(
    translator: Translator,
    jobs: Sequence[Job],
    batch_size: int | None = None,
    done: Callable[[], object] = lambda: None,
    scorer: PatchScorer | None = None,
) -> list[Failure]:
    """Translate files and write the results; returns what failed, in the order of the jobs.

    Images of one size and depth share a batch of up to `batch_size`, None for as many as suit the device; where the
    images of a batch would depend on one another, and where they are so large that they are translated in tiles, each
    goes alone. Noise that a generator reads is drawn for each file from its name. `done` is called once for each file.
    `scorer` makes the patch maps that jobs ask for. Only a few batches are in memory at any time.
    """
    failures: dict[Job, Failure] = {}

    def finish(job: Job, outcome: Future[None] | Future[Decoded]) -> None:
        try:
            outcome.result()
        except DataError as error:
            failures[job] = Failure(job.source, str(error))
        except MemoryError:
            failures[job] = Failure(job.source, "there is not enough memory for it")
        done()

    on_cpu = translator.device.type == "cpu"
    workers = 2 if on_cpu else min(MAX_THREADS, max(2, os.cpu_count() or 1))
    readers, writers = (ThreadPoolExecutor(workers, initializer=_step_back if on_cpu else None) for _ in range(2))
    with readers, writers:
        writing: deque[tuple[Decoded, Future[None]]] = deque()
        try:
            with torch.inference_mode():
                decoded = _decoded(readers, translator, jobs, finish)
                for batch in _batches(decoded, translator, batch_size):
                    functions = zip(batch, _write_functions(translator, scorer, batch), strict=True)
                    writing.extend((item, writers.submit(write)) for item, write in functions)
                    while (
                        len(writing) > WAITING_BATCHES * max(len(batch), workers)
                        or sum(math.prod(item.pixels.size) for item, _ in writing) >= WAITING_PIXELS
                    ):
                        item, future = writing.popleft()
                        finish(item.job, future)
            for item, future in writing:
                finish(item.job, future)
        except BaseException:
            for pool in (readers, writers):
                pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [failures[job] for job in jobs if job in failures]


def _step_back() -> None:
    """Let a thread wait for the network's, which all wait for one another where one of them is interrupted."""
    if sys.platform == "linux":  # where each thread has a priority of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOW_PRIORITY)


def _decoded(
    readers: ThreadPoolExecutor,
    translator: Translator,
    jobs: Iterable[Job],
    finish: Callable[[Job, Future[Decoded]], None],
) -> Iterator[Decoded]:
    """The images of some files in their order, read ahead by threads; what cannot be read is finished."""
    reading: deque[tuple[Job, int, Future[Decoded]]] = deque()
    waiting = iter(jobs)
    while True:
        while len(reading) < 2 * MAX_THREADS and sum(pixels for _, pixels, _ in reading) < WAITING_PIXELS:
            if (job := next(waiting, None)) is None:
                break
            reading.append((job, job.pixels(), readers.submit(_read, job, translator)))
        if not reading:
            return
        job, _, future = reading.popleft()
        if future.exception() is None:
            yield future.result()
        else:
            finish(job, future)


def _read(job: Job, translator: Translator) -> Decoded:
    with job.file() as path:
        pixels = read_content(path, translator.reads)
    if job.instances is not None:
        pixels = read_instances(job.instances, pixels)
    return Decoded(job, pixels, translator.array_of(pixels))


def _batch_size(translator: Translator, given: int | None, height: int, width: int) -> int:
    """How many images of a size go at once."""
    if translator.one_by_one or translator.in_tiles(height, width):
        return 1
    return given or max(1, AT_ONCE.get(translator.device.type, AT_ONCE["cpu"]) // (height * width))


def _batches(images: Iterable[Decoded], translator: Translator, batch_size: int | None) -> Iterator[list[Decoded]]:
    """Images of the same size and depth together; the oldest go as they are where too many wait for others."""
    groups: dict[tuple[object, ...], list[Decoded]] = {}
    for image in images:
        key = (*image.array.shape, image.array.dtype)
        group = groups.setdefault(key, [])
        group.append(image)
        if len(group) >= _batch_size(translator, batch_size, *image.array.shape[:2]):
            yield groups.pop(key)
        elif sum(map(len, groups.values())) >= WAITING_BATCHES * MAX_THREADS:
            yield groups.pop(next(iter(groups)))
    yield from groups.values()


def _write_functions(
    translator: Translator, scorer: PatchScorer | None, batch: list[Decoded]
) -> list[Callable[[], None]]:
    """Translate a batch; returns for each image a function that writes its result, or raises why there is none."""
    failure: DataError
    try:
        if translator.in_tiles(*batch[0].array.shape[:2]):
            (item,) = batch
            result = translator.translate_array(item.array, seed=image_seed(item.job.source))
            scored = scorer is not None and scorer.fits(*item.pixels.size)
            maps = scorer.of_arrays(result, item.array) if scorer is not None and scored else None
            return [partial(_write, translator, item, scorer, maps, result)]
        return _translated(translator, scorer, batch)
    except DataError as error:
        failure = error
    except (RuntimeError, MemoryError) as error:
        if "memory" not in str(error) and not isinstance(error, MemoryError):
            raise
        height, width = batch[0].pixels.size
        failure = DataError(
            f"there is not enough memory for {len(batch)} x {width}x{height} pixels: give a smaller batch_size or tile"
        )

    def fail() -> None:
        raise failure

    return [fail] * len(batch)


def _translated(translator: Translator, scorer: PatchScorer | None, batch: list[Decoded]) -> list[Callable[[], None]]:
    """Send a batch through the network; each of the functions waits for its result and writes it."""
    sources = to_values([item.array for item in batch], translator.device, translator.reads)
    values = translator.translate(sources, seeds=[image_seed(item.job.source) for item in batch])
    levels = translator.writes.to_levels(values, sources, white(batch[0].array))

    def write(i: int, maps: Maps | None) -> None:
        _write(translator, batch[i], scorer, maps, to_arrays(levels[i : i + 1])[0])

    if scorer is None:
        return [partial(write, i, None) for i in range(len(batch))]
    size = values.shape[-2:]
    return [partial(write, i, scorer(values[i], sources[i]) if scorer.fits(*size) else None) for i in range(len(batch))]


def _write(translator: Translator, item: Decoded, scorer: PatchScorer | None, maps: Maps | None, result: Array) -> None:
    writes = translator.writes
    write_pixels(item.job.target, item.pixels.with_colour(result, item.array.shape[2], writes))
    if scorer is not None and item.job.patch_maps:
        scorer.grids(*item.pixels.size)
        assert maps is not None
        for path, picture in zip(item.job.patch_maps, scorer.draw(as_picture(result, writes), maps), strict=True):
            write_picture(path, picture)
