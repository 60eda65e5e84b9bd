"""Counts what a training step moves between images, devices and disk, and says when network, storage or decoding binds.

    python benchmarks/scale.py bytes [--pair-bytes 61000] [OVERRIDES]
    python benchmarks/scale.py limits --pair-bytes 61000 --decode-ms 4.5 [--devices 1 8 64 512] [OVERRIDES]
    python benchmarks/scale.py images --root data/facades [--n 200]
    torchrun --standalone --nproc-per-node 2 benchmarks/scale.py all-reduce [--rounds 20]

`bytes` and `limits` build each method as its configuration describes it, without memory for its weights, and count;
overrides are those of patchlight-train. `limits` prints the shortest time of a step's own arithmetic with which
something is not waited for: a step that takes less waits. `images` and `all-reduce` measure this machine: the bytes of
a pair's files and the time to decode them, and the rate and latency of averaging gradients between processes.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import Tensor, distributed, nn

from patchlight.build import build_data, build_method, data_channels
from patchlight.config.compose import compose_config
from patchlight.data.transforms import as_size
from patchlight.methods import TranslationMethod
from patchlight.system.warnings import filter_warnings

METHODS = {
    "pix2pix": ("model=pix2pix", "data=paired"),
    "CycleGAN": ("model=cyclegan", "data=unpaired"),
    "CUT": ("model=cut", "data=unpaired"),
    "pix2pixHD": ("model=pix2pixhd", "data=paired"),
}
FLOAT = 4
"""Bytes of a weight, its gradient and each of an optimizer's values, in every precision but 64-true."""

BUCKET = 25 * 2**20
"""Bytes of gradients that DistributedDataParallel averages at once."""


@dataclass(frozen=True)
class Step:
    """What a step of a method moves, in bytes, on one rank."""

    parameters: int
    """Weights to be trained: a number, not bytes."""
    averaged: int
    """Gradients, each averaged over the ranks once in a step."""
    from_cache: int
    """Decoded images as they lie in memory, 8 bits a value, before the crop."""
    to_device: int
    """Images after the crop, 8 bits a value."""
    checkpoint: int
    """Weights, buffers and the optimizers' values; written by rank 0, for all ranks together."""
    checkpoint_rank: int
    """What each rank adds to the checkpoint: its image pools, once they are full."""
    batch: int
    """Pairs."""

    @classmethod
    def of(cls, cfg: DictConfig) -> Step:
        """That of a composed configuration of a training."""
        channels = data_channels(cfg.data)
        with torch.device("meta"):
            method = build_method(cfg.model, channels)
        trained = _trained_weights(method.modules_of().values())
        state = [value.numel() for value in method.state_dict().values()]
        size, load = (math.prod(as_size(name, cfg.data[name])) for name in ("image_size", "load_size"))
        values = sum(channels.values()) * cfg.data.batch_size
        pools = sum(pool.pool_size for pool in method.pools.values())
        return cls(
            parameters=trained,
            averaged=FLOAT * trained,
            from_cache=values * load,
            to_device=values * size,
            checkpoint=FLOAT * (sum(state) + _values_of_optimizers(method)),
            checkpoint_rank=FLOAT * pools * channels["A"] * size,
            batch=cfg.data.batch_size,
        )


def _trained_weights(networks: Iterable[nn.Module]) -> int:
    return sum(p.numel() for network in networks for p in network.parameters() if p.requires_grad)


def _values_of_optimizers(method: TranslationMethod) -> int:
    """The numbers that the optimizers keep, one, two or none to each weight, which is tried with a few weights."""
    total, n = 0, 1000
    for name, factory in method.optimizer_factories.items():
        probe = nn.Parameter(torch.zeros(n))
        probe.grad = torch.zeros(n)
        optimizer = factory([probe])
        optimizer.step()
        kept = sum(value.numel() for value in optimizer.state[probe].values() if isinstance(value, Tensor)) // n
        total += kept * _trained_weights(method.moved_by(name).values())
    return total


def print_bytes(steps: dict[str, Step], pair_bytes: float, minutes: float) -> None:
    """A row for each method."""
    print(
        "| | weights | averaged over the ranks | read: files | read: cache | to the device | checkpoint | "
        f"written, one in {minutes:g} min | and for each rank |\n|---|---|---|---|---|---|---|---|---|"
    )
    for name, step in steps.items():
        rate = step.checkpoint / (60 * minutes)
        print(
            f"| {name} | {step.parameters / 1e6:.2f} M | {_mb(step.averaged)} | {_mb(step.batch * pair_bytes)} | "
            f"{_mb(step.from_cache)} | {_mb(step.to_device)} | {_mb(step.checkpoint)} | {_mb(rate)}/s | "
            f"{_mb(step.checkpoint_rank)} |"
        )


def _mb(n: float) -> str:
    return f"{_digits(n / 1e6)} MB" if n else "0"


def _digits(value: float) -> str:
    """Three significant digits."""
    return f"{float(f'{value:.3g}'):g}"


@dataclass(frozen=True)
class Machine:
    """What a cluster gives: bytes a second of a rank's network and of the storage for all, seconds, processes."""

    network: float
    latency: float
    storage: float
    decode: float
    workers: int

    def network_s(self, step: Step, n: int) -> float:
        """Seconds in which n ranks average a step's gradients in a ring: each sends 2 (n-1)/n of them."""
        messages = math.ceil(step.averaged / BUCKET)
        return 2 * (n - 1) / n * step.averaged / self.network + 2 * (n - 1) * self.latency * messages

    def storage_s(self, step: Step, pair_bytes: float, n: int) -> float:
        """Seconds in which the storage gives n ranks the files of a step."""
        return n * step.batch * pair_bytes / self.storage

    def decode_s(self, step: Step) -> float:
        """Seconds in which a rank's processes decode the images of a step."""
        return step.batch * self.decode / self.workers


def print_limits(
    steps: dict[str, Step], machines: dict[str, Machine], pair_bytes: float, devices: Sequence[int]
) -> None:
    """The shortest step for which nothing is waited for, in milliseconds, and what would be waited for first."""
    print("| | network | " + " | ".join(f"n = {n}" for n in devices) + " |")
    print(f"|---|---|{'---|' * len(devices)}")
    for name, step in steps.items():
        for network, machine in machines.items():
            cells = []
            for n in devices:
                needs = {
                    "network": machine.network_s(step, n),
                    "storage": machine.storage_s(step, pair_bytes, n),
                    "decode": machine.decode_s(step),
                }
                first = max(needs, key=lambda key: needs[key])
                cells.append(f"{_digits(1e3 * needs[first])} ms, {first}")
            print(f"| {name} | {network} | {' | '.join(cells)} |")


def measure_images(root: str, n: int, overrides: Sequence[str]) -> None:
    """Bytes of a pair's files and seconds to read, decode and resize it in one process, without a cache."""
    own = ("model=pix2pix", "data=paired", f"data.root={root}", "data.num_workers=0", "data.cache=0", "data.val_size=0")
    cfg = compose_config("train", (*own, f"data.max_train={n}", "data.batch_size=1", *overrides))
    with torch.device("meta"):
        method = build_method(cfg.model, data_channels(cfg.data))
    data = build_data(cfg.data, method).module
    data.prepare_data()
    data.setup("fit")
    wall, processor = [], []
    paths: set[str] = set()
    began = time.perf_counter(), time.process_time()
    for batch in data.train_dataloader():
        wall.append(time.perf_counter() - began[0])
        processor.append(time.process_time() - began[1])
        paths |= {*batch["A_path"], *batch["B_path"]}
        began = time.perf_counter(), time.process_time()
    size = sum(Path(path).stat().st_size for path in paths) / len(wall)
    of_processor, by_clock = (1e3 * statistics.median(times) for times in (processor, wall))
    print(f"{size:.0f} bytes a pair, {of_processor:.2f} ms of a processor to decode one ({by_clock:.2f} by the clock)")


def measure_all_reduce(rounds: int) -> None:
    """Rate and latency of sums over the ranks of torchrun, in messages of the size of DDP's."""
    distributed.init_process_group("gloo")
    n = distributed.get_world_size()
    times = {}
    for size in (FLOAT, BUCKET):
        values = torch.zeros(size // FLOAT)
        taken = []
        for _ in range(rounds + 2):
            distributed.barrier()
            began = time.perf_counter()
            distributed.all_reduce(values)
            taken.append(time.perf_counter() - began)
        times[size] = taken[2:]
    if distributed.get_rank() == 0:
        for size, taken in times.items():
            rate = 2 * (n - 1) / n * size / min(taken) / 1e9
            middle = 1e3 * statistics.median(taken)
            print(f"{n} ranks, {size} bytes: {1e3 * min(taken):.3f} ms at best (median {middle:.3f}), {rate:.3g} GB/s")
    distributed.destroy_process_group()


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line, or words in its place; count or measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["bytes", "limits", "images", "all-reduce"])
    number = partial(parser.add_argument, type=float)
    number("--pair-bytes", default=0.0, help="of a pair's files, as `images` measures them")
    number("--minutes", default=10.0, help="between checkpoints")
    number("--decode-ms", default=0.0, help="to decode a pair in one process, as `images` measures it")
    number("--network-gbit", nargs="*", default=[10.0, 100.0, 400.0], help="a second, of each rank")
    number("--latency-us", default=0.0, help="of a message")
    number("--storage-gb", default=1.0, help="gigabytes a second, for all ranks together")
    parser.add_argument("--workers", type=int, default=8, help="processes that decode for one rank")
    parser.add_argument("--devices", type=int, nargs="*", default=[1, 8, 64, 512])
    parser.add_argument("--root", help="of a paired set")
    parser.add_argument("--n", type=int, default=200, help="pairs that are decoded")
    parser.add_argument("--rounds", type=int, default=20)
    args, overrides = parser.parse_known_args(argv)
    filter_warnings()
    if args.what == "images":
        measure_images(args.root, args.n, overrides)
    elif args.what == "all-reduce":
        measure_all_reduce(args.rounds)
    else:
        steps = {name: Step.of(compose_config("train", (*own, *overrides))) for name, own in METHODS.items()}
        if args.what == "bytes":
            print_bytes(steps, args.pair_bytes, args.minutes)
        else:
            machines = {
                f"{gbit:g} Gbit/s": Machine(
                    gbit / 8 * 1e9, args.latency_us / 1e6, args.storage_gb * 1e9, args.decode_ms / 1e3, args.workers
                )
                for gbit in args.network_gbit
            }
            print_limits(steps, machines, args.pair_bytes, args.devices)


if __name__ == "__main__":
    main()
