"""`patchlight-download`: fetch and unpack one of the public pix2pix and CycleGAN image sets."""

from __future__ import annotations

import argparse
import difflib
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from patchlight.errors import DataError, one_message
from patchlight.system.archives import BadArchiveError, unpack
from patchlight.system.transfer import fetch

Family = Literal["pix2pix", "cyclegan"]

SERVER = "https://efrosgans.eecs.berkeley.edu"
"""Where the authors of pix2pix and CycleGAN keep their sets."""

SUFFIX: dict[Family, str] = {"pix2pix": ".tar.gz", "cyclegan": ".zip"}
GENERIC_RUN: dict[Family, str] = {"pix2pix": "data=paired model=pix2pix", "cyclegan": "data=unpaired model=cyclegan"}

ATTEMPTS = 5
PAUSE = 1.0
TIMEOUT = 30.0


@dataclass(frozen=True)
class ImageSet:
    """One set: pairs side by side (pix2pix, A on the left), or two folders of unpaired images (CycleGAN)."""

    name: str
    family: Family
    about: str
    run: str = ""

    def url(self, server: str) -> str:
        """The archive's address on the authors' server or on one laid out like it."""
        return f"{server.rstrip('/')}/{self.family}/datasets/{self.name}{SUFFIX[self.family]}"

    def command(self, folder: Path) -> str:
        """What to type to train on it."""
        return f"patchlight-train {self.run or GENERIC_RUN[self.family]} data.root={folder}"


SETS = (
    ImageSet("facades", "pix2pix", "photo | label map of a building's front", "experiment=facades_pix2pix"),
    ImageSet("maps", "pix2pix", "aerial photo | map"),
    ImageSet("edges2shoes", "pix2pix", "edges | photo of a shoe"),
    ImageSet("edges2handbags", "pix2pix", "edges | photo of a handbag"),
    ImageSet("night2day", "pix2pix", "the same place by night | by day"),
    ImageSet("horse2zebra", "cyclegan", "horses, zebras", "experiment=horse2zebra_cyclegan"),
    ImageSet("apple2orange", "cyclegan", "apples, oranges"),
    ImageSet("summer2winter_yosemite", "cyclegan", "Yosemite in summer, in winter"),
    ImageSet("monet2photo", "cyclegan", "paintings by Monet, landscape photos"),
    ImageSet("cezanne2photo", "cyclegan", "paintings by Cezanne, landscape photos"),
    ImageSet("ukiyoe2photo", "cyclegan", "ukiyo-e prints, landscape photos"),
    ImageSet("vangogh2photo", "cyclegan", "paintings by Van Gogh, landscape photos"),
    ImageSet("iphone2dslr_flower", "cyclegan", "flowers by a telephone, by a camera"),
    ImageSet("ae_photos", "cyclegan", "photos to be translated by a trained model"),
    ImageSet("maps", "cyclegan", "aerial photos, maps"),
    ImageSet("facades", "cyclegan", "photos, label maps of buildings' fronts", "experiment=facades_cyclegan"),
)

ELSEWHERE = {"cityscapes": "its licence forbids copies: register at https://www.cityscapes-dataset.com to get it"}


def find_set(name: str, family: Family | None) -> ImageSet:
    """The set of that name; one that both families have is the pix2pix one unless the family says otherwise.

    Raises:
        DataError: no such set; the message lists the ones with a similar name.
    """
    if name in ELSEWHERE:
        raise DataError(f"{name} cannot be downloaded from here; {ELSEWHERE[name]}")
    found = [one for one in SETS if one.name == name and family in (None, one.family)]
    if found:
        return found[0]
    names = list(dict.fromkeys(one.name for one in SETS if family in (None, one.family)))
    close = difflib.get_close_matches(name, names, n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else f"choose from {', '.join(names)}"
    raise DataError(f"there is no {family + ' ' if family else ''}set called {name!r}; {hint}")


def folder_name(image_set: ImageSet) -> str:
    """The set's folder: its name, with the family added where another set has the name by right."""
    first = find_set(image_set.name, None)
    return image_set.name if first is image_set else f"{image_set.name}_{image_set.family}"


def download(
    image_set: ImageSet, *, root: Path, server: str = SERVER, pause: float = PAUSE, sha256: str | None = None
) -> Path:
    """Fetch and unpack a set into `root`; a set that is there already is left as it is. Returns its folder.

    An archive with another checksum than `sha256`, in hexadecimal digits, is removed and not unpacked.

    Raises:
        DataError: no network, no such file on the server, no room, or an archive that is damaged or not to be trusted.
    """
    target = root / folder_name(image_set)
    archive = root / f"{target.name}{SUFFIX[image_set.family]}"
    try:
        if target.is_dir() and any(target.iterdir()):
            print(f"{target} is there already and is used as it is; delete it to download it again.")
            return target
        root.mkdir(parents=True, exist_ok=True)
        if target.exists():
            target.rmdir()
        if not archive.exists():
            _fetch_with_bar(image_set.url(server), archive, pause)
        with archive.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        print(f"{archive.stat().st_size:,} bytes, sha256 {digest}")
        if sha256 is not None and digest != sha256.lower():
            archive.unlink()
            raise DataError(f"{archive}: its sha256 is {digest} and not {sha256}. The archive was removed.")
        try:
            count = unpack(archive, target)
        except BadArchiveError as error:
            archive.unlink()  # lest it stand in the way of a better one
            raise DataError(f"{error}. The archive was removed: run the same command to download it again.") from None
        archive.unlink()
        print(f"{target}: {count:,} files")
    except OSError as error:
        place, reason = error.filename or root, error.strerror or error
        raise DataError(f"{place}: {reason}. Put this right, or choose another folder with --root.") from None
    return target


def _fetch_with_bar(url: str, archive: Path, pause: float) -> None:
    # Here, so that --help and --list do not wait for it.
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    print(f"Downloading {url}")
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn()) as progress:
        task = progress.add_task(archive.name, total=None)

        def report(done: int, size: int | None) -> None:
            progress.update(task, completed=done, total=size)

        fetch(url=url, target=archive, report=report, attempts=ATTEMPTS, pause=pause, timeout=TIMEOUT)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="patchlight-download",
        description="Download a public pix2pix or CycleGAN image set and unpack it. "
        "A download that was stopped goes on where it was when the same command is run again.",
        epilog="example: patchlight-download facades",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="the set to download; --list shows them all")
    parser.add_argument(
        "--root", type=Path, default=Path("data"), metavar="DIR", help="where to put it (default: data)"
    )
    parser.add_argument("--family", choices=get_args(Family), help="which one, for the names that both families have")
    parser.add_argument("--mirror", default=SERVER, metavar="URL", help="another server with the same folders")
    parser.add_argument("--sha256", metavar="HEX", help="the checksum that the archive must have to be unpacked")
    parser.add_argument("--list", action="store_true", help="list the sets and stop")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """The command. Exit status 1 with one message where something is wrong, 130 after Ctrl-C."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.list:
        for one in SETS:
            print(f"{one.name:<24}{one.family:<10}{one.about}")
        return
    if arguments.name is None:
        parser.error("the NAME of a set is missing; --list shows them all")
    if not arguments.mirror.startswith(("http://", "https://")):
        parser.error(f"--mirror {arguments.mirror}: the address must begin with http:// or https://")
    try:
        with one_message("patchlight-download"):
            image_set = find_set(arguments.name, arguments.family)
            folder = download(image_set, root=arguments.root, server=arguments.mirror, sha256=arguments.sha256)
    except KeyboardInterrupt:
        print("\nStopped. What has arrived is kept: run the same command to go on.", file=sys.stderr)
        raise SystemExit(130) from None
    print(f"Next: {image_set.command(folder)}")
