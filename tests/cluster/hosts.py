"""Two hosts on one machine: network namespaces that only a virtual cable joins, each with processes of its own.

Needs Linux, root, and `ip` of iproute2. What runs on a host sees the machine's files, as on a cluster with a shared
file system, but reaches the other host by the cable alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

NETWORK = "10.213.7"
"""Addresses that nothing else sees: there is no way out of the namespaces."""

NAMED = 'hostname "$1" && mount --bind "$2" /etc/hosts && shift 2 && exec "$@"'


def under_name(name: str, names: Path, *isolation: str) -> list[str]:
    """The words before a command that let it believe to be on a host of that name, with `names` as its /etc/hosts.

    `isolation` are further options of unshare.
    """
    return ["unshare", "--uts", "--mount", *isolation, "sh", "-c", NAMED, "sh", name, str(names)]


def why_no_hosts() -> str:
    """Why this machine cannot have hosts on it; empty if it can."""
    missing = [name for name in ("ip", "unshare", "mount", "hostname") if shutil.which(name) is None]
    if missing:
        return f"not on PATH: {', '.join(missing)}"
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"pl{os.getpid()}t"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"no network namespaces: {tried.stderr.strip()}"
    _ip("netns", "delete", name)
    return ""


@dataclass(frozen=True)
class Host:
    """A host: its name, its address, the end of the cable that it has, and its network namespace."""

    name: str
    address: str
    interface: str
    namespace: str
    names: Path

    def start(self, command: Sequence[str], output: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Run a command as the host's first process; all processes of the host end with the returned one."""
        named = under_name(self.name, self.names, "--pid", "--fork", "--kill-child", "--mount-proc")
        with output.open("ab") as file:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, *named, *command], cwd=output.parent, stdout=file,
                stderr=subprocess.STDOUT, env={**environment, "GLOO_SOCKET_IFNAME": self.interface},
            )  # fmt: skip

    def plug(self, *, connected: bool) -> None:
        """Put the cable in, or pull it out: what is sent then is lost, so that the other host hears nothing at all."""
        _ip("-n", self.namespace, "link", "set", self.interface, "up" if connected else "down")


@contextmanager
def two_hosts(folder: Path) -> Iterator[tuple[Host, Host]]:
    """Two hosts, joined by a cable; they are gone at the end. A file with their names is written into `folder`."""
    names = folder / "hosts"
    mark = f"pl{os.getpid()}"
    first, second = (Host(f"host{i}", f"{NETWORK}.{i + 1}", f"{mark}e{i}", f"{mark}n{i}", names) for i in range(2))
    names.write_text("127.0.0.1 localhost\n" + "".join(f"{host.address} {host.name}\n" for host in (first, second)))
    with ExitStack() as stack:
        for host in (first, second):
            _ip("netns", "add", host.namespace)
            stack.callback(_ip, "netns", "delete", host.namespace)
        ends = [["name", host.interface, "netns", host.namespace] for host in (first, second)]
        _ip("link", "add", *ends[0], "type", "veth", "peer", *ends[1])
        for host in (first, second):
            _ip("-n", host.namespace, "address", "add", f"{host.address}/24", "dev", host.interface)
            _ip("-n", host.namespace, "link", "set", "lo", "up")
            host.plug(connected=True)
        yield first, second


def _ip(*arguments: str) -> None:
    result = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {result.stderr.strip()}")
