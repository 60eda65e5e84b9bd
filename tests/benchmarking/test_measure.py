"""Two processes that take turns, and `patchlight-bench` over them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
from hydra import initialize_config_dir

from patchlight.benchmarking import Bench, StepCase, measure
from patchlight.benchmarking.results import Comparison
from patchlight.benchmarking.turns import TimedProcess
from patchlight.cli.bench import BenchConfig, bench
from patchlight.cli.command import typed
from patchlight.config.compose import compose_config, config_dir
from patchlight.errors import BenchError, ConfigError, DataError

TINY = StepCase("tiny", "pix2pix", 64, 3, width=4, n_layers=2)

CHILD = """
import dataclasses, os, sys, types
from multiprocessing.connection import Connection
# By name alone, as importing it takes PyTorch, Lightning and four seconds.
Turn = dataclasses.make_dataclass("Turn", ["seconds", "peak_bytes", "notes"])
Turn.__module__ = "patchlight.benchmarking.turns"
sys.modules[Turn.__module__] = types.ModuleType(Turn.__module__)
sys.modules[Turn.__module__].Turn = Turn
line = Connection(int(sys.argv[1]))
while True:
    times = line.recv()
    print("turn of", times, "on a terminal:", sys.stdout.isatty(), os.get_terminal_size().columns, flush=True)
    if times == 13:
        sys.exit("no luck")
    line.send(Turn(0.5, 7, {"n": times}))
"""


def child(log: Path) -> TimedProcess:
    return TimedProcess(lambda line: [sys.executable, "-c", CHILD, str(line)], log)


def test_turns(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with child(log) as one, child(tmp_path / "other") as other:
        for side, times in ((one, 3), (other, 1), (one, 2)):
            turn = side.turn(times)
            assert (turn.seconds, turn.peak_bytes, turn.notes) == (0.5, 7, {"n": times})
    assert log.read_text().splitlines() == ["turn of 3 on a terminal: True 160", "turn of 2 on a terminal: True 160"]


def test_a_process_that_ends_is_told_of(tmp_path: Path) -> None:
    with child(tmp_path / "log") as one, pytest.raises(BenchError, match=r"ended by itself: turn of 13 .*\s+no luck$"):
        one.turn(13)


@pytest.mark.slow
def test_a_step_is_measured(tmp_path: Path) -> None:
    told: list[str] = []
    measuring = Bench(tmp_path, "cpu", "32-true", 2, None, told.append, turn_seconds=0.01)
    (found,) = measuring.steps([TINY])
    assert told == ["step: tiny"]
    assert (len(found.plain), len(found.ours)) == (2, 2)
    assert 0 < found.plain[0] < 1
    assert found.notes["flops"] > 1e6
    assert found.plain_peak is not None
    assert found.plain_peak > 2**27
    # What a user's run has, with its progress bar.
    (folder,) = tmp_path.glob("*-train")
    assert (folder / "config.yaml").is_file()
    assert "Epoch" in (tmp_path / f"{folder.name}.log").read_text()


@pytest.mark.slow
def test_everything_else_is_measured(tmp_path: Path) -> None:
    measuring = Bench(tmp_path, "cpu", "32-true", 1, None, lambda what: None, turn_seconds=0.01)
    (overhead,) = measuring.overhead([TINY])
    assert overhead.notes["overhead"] == pytest.approx(overhead.ours[0] / overhead.plain[0] - 1)
    uncached, cached = measuring.input(images=8)
    assert cached.ours[0] < uncached.plain[0]
    with initialize_config_dir(str(config_dir()), version_base="1.3"):  # as within the command
        (translation,) = measuring.translate(images=3, cases=[TINY])
    assert 0 < translation.ours[0] < 1
    first, helped, begun, *refused = measuring.start(TINY, TINY)
    assert 1 < first.ours[0] < 60
    assert helped.ours[0] < first.ours[0]
    assert begun.notes["of_the_time"] == pytest.approx(begun.ours[0] / begun.plain[0])
    assert len(refused) == 3
    assert all(comparison.plain == begun.plain for comparison in refused)
    scale = measuring.scaling({"batch size": ((1.0, TINY), (2.0, StepCase("two", "pix2pix", 64, 3, batch=2, width=4)))})
    assert len(scale["batch size"]["seconds"]) == 2
    assert -2 < scale["batch size"]["time_exponent"] < 3


def config(*overrides: str) -> BenchConfig:
    return typed(compose_config("bench", overrides), BenchConfig)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rounds=0", r"rounds=0 should be at least 1"),
        ("parts=[steps]", r"parts=\['steps'\] should be 'step', .* at place 0$"),
        ("precision=8", r"precision=8 should be 'auto'"),
        ("round=3", r"round is no key .* did you mean rounds\?"),
    ],
)
def test_wrong_values_are_named(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(override)


def test_unknown_steps_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"steps=tiny is no step: there are pix2pix 256 px; "):
        bench(config("steps=[tiny]", f"output={tmp_path}"))
    with pytest.raises(DataError, match="nowhere"):
        bench(config(f"root={tmp_path / 'nowhere'}", f"output={tmp_path}"))


def test_no_part_is_only_the_peak(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(measure, "matmul_peak", partial(measure.matmul_peak, side=256, times=3))
    bench(config("parts=[]", f"output={tmp_path}", "accelerator=cpu"))
    assert "matrix products" in capsys.readouterr().out
    assert not list(tmp_path.glob("bench.*"))
    bench(config("parts=[step]", "steps=[]", f"output={tmp_path}", "accelerator=cpu"))
    content = json.loads((tmp_path / "bench.json").read_text())
    assert content["comparisons"] == []
    assert content["matmul_flops_per_second"]["float32"] > 1e8


def test_what_was_measured_is_kept_when_a_later_step_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def steps(self: Bench, cases: Sequence[StepCase]) -> list[Comparison]:
        if cases[0].name != "pix2pix 256 px":
            raise KeyboardInterrupt
        return [Comparison(cases[0].name, plain=[2.0], ours=[1.0])]

    monkeypatch.setattr(measure, "matmul_peak", partial(measure.matmul_peak, side=256, times=3))
    monkeypatch.setattr(Bench, "steps", steps)
    with pytest.raises(KeyboardInterrupt):
        bench(config("parts=[step]", f"output={tmp_path}", "accelerator=cpu"))
    (kept,) = json.loads((tmp_path / "bench.json").read_text())["comparisons"]
    assert kept["name"] == "pix2pix 256 px"
