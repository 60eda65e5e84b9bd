"""The bar: one line of the terminal, whatever its width, and times that leave validation out."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
import rich
from lightning.pytorch import Trainer
from rich.console import Console
from rich.progress import Progress as RichProgress

from patchlight.callbacks import BestCheckpoint, Progress
from patchlight.callbacks.progress import Clock, choose_terms, hms
from patchlight.callbacks.quality import figure_title, mean_of

TERMS = {
    "pix2pix": ("d_real", "d_fake", "g_gan", "g_l1"),
    "cyclegan": ("identity_a", "identity_b", "cycle_a", "g_gan_ab", "cycle_b", "g_gan_ba", "d_a", "d_b"),
    "cut": ("g_gan", "nce", "nce_identity", "d_real", "d_fake"),
}


def terms_of(method: str) -> dict[str, str]:
    values = dict.fromkeys(TERMS[method], "0.693")
    return {**values, "d_total": "0.702", "g_total": "139.412"}


def test_terms_are_chosen_by_the_columns_that_are_left() -> None:
    terms = terms_of("pix2pix")
    everything = dict.fromkeys(TERMS["pix2pix"], "0.693")
    width = len("  d_real 0.693  d_fake 0.693  g_gan 0.693  g_l1 0.693")
    assert choose_terms(terms, width) == everything
    totals = {"g": "139.412", "d": "0.702"}
    assert choose_terms(terms, width - 1) == totals | {"d_real": "0.693", "d_fake": "0.693"}
    assert choose_terms(terms, len("  g 139.412  d 0.702")) == totals
    assert choose_terms(terms, len("  g 139.412  d 0.702") - 1) == {"g": "139.412"}
    assert choose_terms(terms, 3) == {}
    assert choose_terms({"g_l1": "1"}, 3) == {}


@pytest.fixture(params=[80, 120])
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The width of the terminal that the process has."""
    before = rich._console
    console = Console(width=request.param, force_terminal=True, color_system=None)
    monkeypatch.setattr(rich, "_console", console)
    yield request.param
    rich._console = before


@pytest.mark.parametrize("method", TERMS)
def test_the_bar_is_one_line_without_a_value_cut(method: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where epochs, batches and hours have many digits."""
    progress = Progress()
    progress.terms = terms_of(method)
    progress.train_progress_bar_id = 0  # type: ignore[assignment]
    monkeypatch.setattr(Progress, "seconds_left", 97331.0)
    monkeypatch.setattr(Progress, "images_per_s", 101.3)
    columns = progress.configure_columns(Trainer.__new__(Trainer))
    bars = RichProgress(*columns, console=rich.get_console(), auto_refresh=False)
    for description, total in (("Epoch 100/200", 1334), ("Validation   ", 100)):
        task = bars.add_task(description, total=total, completed=total - 1)
        assert (task == progress.train_progress_bar_id) == description.startswith("Epoch")
    with rich.get_console().capture() as captured:
        rich.get_console().print(bars.make_tasks_table(bars.tasks))
    lines = [line.rstrip() for line in captured.get().splitlines()]
    assert len(lines) == 2
    assert all(len(line) <= width for line in lines)
    assert "\N{HORIZONTAL ELLIPSIS}" not in captured.get()
    assert re.search(r"1333/1334 +27:02:11 left  101\.3 img/s  \S+ \d+\.\d{3}", lines[0])
    if width == 120 and method == "pix2pix":
        assert lines[0].endswith("  d_real 0.693  d_fake 0.693  g_gan 0.693  g_l1 0.693")
    else:
        assert "  g 139.412" in lines[0]
    assert lines[1].endswith("99/100")


def test_images_a_second_leave_validation_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    clock = Clock()
    clock.start(step=7, images=70)
    now = 110.0
    clock.count(step=12, images=120)
    clock.pause()
    now = 140.0
    clock.pause()  # the callbacks' pictures come after the validation
    assert (clock.training_s, clock.elapsed_s, clock.images_per_s) == (10, 40, 5)
    clock.resume()
    now = 150.0
    clock.resume()
    clock.count(step=17, images=170)
    assert (clock.batches, clock.training_s, clock.elapsed_s, clock.images_per_s) == (10, 20, 50, 5)


def test_times() -> None:
    assert [hms(s) for s in (0, 59.4, 59.6, 3599, 97331)] == ["0:00:00", "0:00:59", "0:01:00", "0:59:59", "27:02:11"]


def test_a_mean_of_reconstructions_is_called_so() -> None:
    names = ["l1", "fid", "rec_A/l1", "rec_B/l1", "fake_A/fid", "fake_B/fid"]
    assert mean_of("l1", names) == ["rec_A/l1", "rec_B/l1"]
    titles = {name: figure_title(name, names) for name in names}
    assert titles == {name: name for name in names} | {"l1": "rec l1"}
    assert figure_title("l1", ["l1", "psnr"]) == "l1"


@pytest.mark.parametrize(("mode", "better", "worse"), [("min", 0.1, 0.3), ("max", 0.3, 0.1)])
def test_the_best_so_far_is_known_before_it_is_kept(mode: str, better: float, worse: float) -> None:
    best = BestCheckpoint("unused", monitor="val/x", mode=mode)  # type: ignore[arg-type]
    best.score = 0.2

    class Validated:
        callback_metrics: dict[str, float] = {}

    def improves(**figures: float) -> bool:
        Validated.callback_metrics = {f"val/{name}": value for name, value in figures.items()}
        return best.improves(Validated())  # type: ignore[arg-type]

    found = [improves(x=better), improves(x=0.2), improves(x=worse), improves(x=float("nan")), improves(y=better)]
    assert found == [True, False, False, False, False]
    best.score = None
    assert improves(x=worse)
