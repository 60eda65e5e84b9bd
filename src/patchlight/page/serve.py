"""The page's server: on this machine, until it is interrupted, with nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from patchlight.errors import ConfigError
from patchlight.page.catalogue import Models, find_choices
from patchlight.page.guard import OVERHEAD, Guard, Hosts, Uploads
from patchlight.page.intake import Limits, Setting
from patchlight.page.studio import Studio
from patchlight.system.devices import choose_device

FIRST_PORT, LAST_PORT = 7860, 7959
LOCAL = ("127.0.0.1", "localhost", "::1")
QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""Environment in which Gradio and what it imports talk to nobody."""


@dataclass(frozen=True)
class Options:
    """What the command was given."""

    ckpt: Path
    device: str
    host: str
    port: int | None
    hosts: tuple[str, ...]
    max_bytes: int
    max_stored_bytes: int
    max_pixels: int
    palette: Setting
    open_browser: bool
    trust: bool


def serve(options: Options) -> None:
    """Show the page until it is interrupted; what was uploaded and made is removed then.

    Raises:
        UserError: there is no usable checkpoint, or the device, the host or the port cannot be used.
    """
    if options.max_stored_bytes < options.max_bytes + OVERHEAD:
        raise ConfigError("max_stored_mib should be larger than max_mib: one upload must fit")
    choose_device(options.device)
    choices = find_choices(options.ckpt, trust=options.trust)
    port = find_port(options.host, options.port)
    limits = Limits(options.max_bytes, options.max_pixels)
    with tempfile.TemporaryDirectory(prefix="patchlight-demo-", ignore_cleanup_errors=True) as folder:
        # Gradio reads these when it is imported.
        os.environ.update(QUIET, GRADIO_TEMP_DIR=str(Path(folder) / "gradio"))
        # It asks itself whether it runs, which should not go through a proxy.
        os.environ["no_proxy"] = ",".join(filter(None, (os.environ.get("no_proxy"), *LOCAL, options.host)))
        from patchlight.page.layout import build_page, launch

        results, uploads = Path(folder) / "results", Path(folder) / "gradio"
        results.mkdir()
        guard = Guard(Hosts(known_names(options)), Uploads(uploads, options.max_stored_bytes), options.max_bytes)
        studio = Studio(Models(options.device, trust=options.trust), results)
        page = build_page(choices, studio, limits, options.palette)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            url = launch(
                page, guard=guard, folder=results, host=options.host, port=port, open_browser=options.open_browser
            )
            print(f"Patchlight's page: {url}\nCtrl-C ends it.", flush=True)
            if options.host not in LOCAL:
                print(f"host={options.host}: whoever can reach this machine can use the page.", flush=True)
            while True:
                time.sleep(1)
        except KeyboardInterrupt:
            print(flush=True)
        finally:
            page.close(verbose=False)


def known_names(options: Options) -> set[str]:
    """Names of this machine under which the page may be asked for, besides localhost and all addresses."""
    name = socket.gethostname()
    return set(options.hosts) | (set() if options.host in LOCAL else {options.host, name, f"{name}.local"})


def find_port(host: str, port: int | None) -> int:
    """The port, or the first free one if none is given.

    Raises:
        ConfigError: it is in use, or the host is not one of this machine's addresses.
    """
    for candidate in [port] if port else range(FIRST_PORT, LAST_PORT + 1):
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, candidate, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind, protocol) as probe:
                # As the server will: a port whose last user has just gone is free.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
            return candidate
        except socket.gaierror:
            raise ConfigError(f"host={host} is no address: give 127.0.0.1, or 0.0.0.0 for all of them") from None
        except PermissionError:
            raise ConfigError(f"port={candidate} needs more rights: give one from 1024 on, or null") from None
        except OSError as error:
            if error.errno is not None and "assign" in os.strerror(error.errno):
                raise ConfigError(f"host={host} is not an address of this machine: give 127.0.0.1") from None
    if port:
        raise ConfigError(f"port={port} is in use: give another one, or null for the first that is free")
    raise ConfigError(f"none of the ports {FIRST_PORT} to {LAST_PORT} is free: give port=")
