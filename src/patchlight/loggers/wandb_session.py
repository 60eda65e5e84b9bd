"""Beginning and ending a W&B run, whatever state its server is in."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from patchlight.config.messages import one_line

if TYPE_CHECKING:
    import wandb

OFFLINE = ("offline", "dryrun", "disabled")

LONGEST_REASON = 240


class Session:
    """One W&B run, which is online if it can be and on the disk in any case.

    Stands in for the terminal to which W&B would print: what it says of data that it could not send is told at the end
    of the run, once.
    """

    def __init__(self, settings: dict[str, Any], offline: bool) -> None:
        self.settings = {key: value for key, value in settings.items() if value is not None}
        self.offline = offline
        self._unsent: list[str] = []

    def start(self) -> wandb.Run:
        """The run that has begun: an offline one where the server cannot be used, which is said."""
        _keep_reports()
        mode = os.environ.get("WANDB_MODE") or ("offline" if self.offline else None)
        folders = (Path(self.settings["root_dir"]) / "wandb").glob
        pattern = f"run-*-{self.settings['run_id']}"
        before = set(folders(pattern))
        try:
            return self._begin(mode)
        except Exception as error:
            if mode in OFFLINE:
                raise
            reason = one_line(error)[:LONGEST_REASON] or type(error).__name__
        _shut_down()  # or else the id of the run would be in use
        for folder in set(folders(pattern)) - before:
            shutil.rmtree(folder, ignore_errors=True)  # of the attempt: the same run once more, with nothing in it
        run = self._begin("offline")
        _say(f"cannot be used ({reason})", run)
        return run

    def prepare(self) -> None:
        """Make W&B silent, which then asks no question, and hear what it says; tell it where pictures belong.

        Enough for a process that takes part in a run that another has begun.
        """
        import wandb

        settings = wandb.Settings(silent=True, root_dir=self.settings["root_dir"])
        wandb.setup(settings=settings)
        wandb.termsetup(settings, self)

    def _begin(self, mode: str | None) -> wandb.Run:
        import wandb

        self.prepare()
        given = self.settings if mode is None else {**self.settings, "mode": mode}
        return wandb.init(settings=wandb.Settings(**given, silent=True, resume="allow", finish_timeout_raises=True))

    def finish(self, run: wandb.Run, exit_code: int) -> None:
        """End the run, and say so where not all of it was sent in time."""
        try:
            run.finish(exit_code=exit_code)
        except TimeoutError:
            self._unsent.insert(0, f"it was not done after {self.settings['finish_timeout']:g} s")
        except Exception:
            _shut_down()  # so that the next run of this process finds a service that works
            raise
        if self._unsent and not run.offline:
            _say(f"did not take all of the run ({self._unsent[0]})", run)

    def info(self, msg: str) -> None:
        """A message of W&B's that nobody needs."""

    def warning(self, msg: str) -> None:
        """A warning of W&B's: that data is lost is remembered."""
        if "not be synced" in msg:
            self._unsent.append(msg.rpartition("WARNING ")[2].partition(". ")[0])

    error = warning


@contextlib.contextmanager
def warming_up() -> Iterator[None]:
    """Import W&B and start its service process beside the work of this context.

    Nothing is written and nothing asked. What goes wrong is left for `Session` to meet again, which says it. No import
    goes on after the context: a process that were forked meanwhile would wait for it for ever.
    """
    thread = Thread(target=_warm_up, name="wandb", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _warm_up() -> None:
    with contextlib.suppress(Exception):
        _keep_reports()
        import wandb

        wandb.setup(settings=wandb.Settings(silent=True))
        # Of all that W&B imports when a run begins the largest part.
        import wandb.sdk.launch


def _keep_reports() -> None:
    """W&B's reports on itself would wait for a server that is down when the process ends."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")


def _shut_down() -> None:
    """End W&B's service process; it may end with an exit status of its own, which is not this process's."""
    import wandb

    with contextlib.suppress(Exception, SystemExit):
        wandb.teardown(exit_code=0)


def _say(what: str, run: wandb.Run) -> None:
    folder = Path(run.dir).parent
    with contextlib.suppress(ValueError):
        folder = folder.relative_to(Path.cwd())
    print(f"W&B {what}: the run is kept on the disk, and `wandb sync {folder}` sends it later", file=sys.stderr)
