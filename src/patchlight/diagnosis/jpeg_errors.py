"""Errors that libjpeg passes over in JPEG files: meaningless bits, missing pixels, data that is left over.

Pillow keeps it to itself. OpenCV lets libjpeg write it to the standard error output of the process, which is therefore
one of its own here: `python -m patchlight.diagnosis.jpeg_errors` reads names of files, one JSON string a line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from patchlight.system.image_file import try_jpeg

NEXT = b"\n=== next file ===\n"
"""Is written after each file."""

WORTH_A_PROCESS = 100
"""So many files take about as long as starting a process."""


def passed_over(paths: Sequence[Path], workers: int) -> dict[Path, str]:
    """The first remark of libjpeg on each JPEG file that it has one on, by `workers` processes.

    Nothing is found where OpenCV was built without its messages.
    """
    processes = max(1, min(workers, len(paths) // WORTH_A_PROCESS))
    parts = [paths[i::processes] for i in range(processes)]
    with ThreadPoolExecutor(processes) as pool:
        return {path: said for found in pool.map(_ask, parts) for path, said in found.items()}


def _ask(paths: Sequence[Path]) -> dict[Path, str]:
    names = "".join(f"{json.dumps(str(path.absolute()))}\n" for path in paths)
    command = [sys.executable, "-m", __name__]
    said = subprocess.run(command, input=names.encode(), stderr=subprocess.PIPE, check=False).stderr.split(NEXT)
    texts = (" ".join(text.decode("utf-8", "replace").split()) for text in said)
    return {path: text for path, text in zip(paths, texts, strict=False) if text}


def main() -> None:
    """Decode the files that are named on the standard input."""
    for line in sys.stdin.buffer:
        with suppress(Exception):  # what cannot be read at all has been told by Pillow
            try_jpeg(Path(json.loads(line)).read_bytes())
        os.write(2, NEXT)


if __name__ == "__main__":
    main()
