"""The page as a reader sees it, in Chromium."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from patchlight.reporting import write_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

MakeRun = Callable[..., Path]
DASH = "\N{EN DASH}"
DESKTOP, PHONE = (1280, 900), (390, 844)


@pytest.fixture(scope="module")
def page_file(sweep: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("report")
    write_report([sweep], output, title="Depth & <norm>", command="patchlight-report runs=sweep")
    return output / "index.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A page with everything it complained about and asked for."""

    def __init__(self, browser: Browser, file: Path, size: tuple[int, int], scheme: Any = "light") -> None:
        self.page: Page = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())

    def width(self) -> int:
        return int(self.page.evaluate("document.scrollingElement.scrollWidth"))


@pytest.fixture
def visit(browser: Browser, page_file: Path) -> Iterator[Callable[..., Visit]]:
    visits: list[Visit] = []

    def open_page(size: tuple[int, int], scheme: str = "light", file: Path = page_file) -> Visit:
        visits.append(Visit(browser, file, size, scheme))
        return visits[-1]

    yield open_page
    for one in visits:
        one.page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_it_fits_loads_and_does_not_complain(visit: Callable[..., Visit], size: tuple[int, int], scheme: str) -> None:
    seen = visit(size, scheme)
    assert seen.width() <= size[0]
    seen.page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert seen.width() <= size[0]
    images = seen.page.evaluate(
        "Promise.all([...document.images].map((i) => i.decode().then(() => [i.naturalWidth, i.clientWidth])))"
    )
    # Two inputs: input, target, output and heat map of four groups; and again with those of all twelve runs.
    assert len(images) == 2 * (2 + 2 * 4) + 2 * (2 + 2 * 12)
    assert all(natural > 0 and shown >= 100 for natural, shown in images)
    assert seen.complaints == []
    assert [url for url in seen.requests if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in seen.requests if url.startswith("file:")]) == 1


def column(page: Page, name: str) -> list[str]:
    """The shown texts of a column of the main table, by the beginning of its header."""
    table = page.locator("#table table").first
    headers = [text.strip() for text in table.locator("thead th").all_inner_texts()]
    index = next(i for i, text in enumerate(headers) if text.startswith(name))
    return [row.locator("td").nth(index).inner_text() for row in table.locator("tbody tr").all()]


def test_a_header_sorts(visit: Callable[..., Visit]) -> None:
    page = visit(DESKTOP).page
    assert column(page, "receptive field") == ["1", "16", "34", "70"]
    for name, better_first in (("l1", "ascending"), ("psnr", "descending")):
        header = page.locator("#table table").first.locator("th", has_text=re.compile(rf"^\s*{name}"))
        header.locator("button").click()
        values = [float(text.split()[0]) for text in column(page, name)]
        assert header.get_attribute("aria-sort") == better_first
        assert values == sorted(values, reverse=better_first == "descending")
        assert column(page, "receptive field") == ["70", "34", "16", "1"]
        header.locator("button").press("Enter")
        assert header.get_attribute("aria-sort") != better_first
        assert column(page, "receptive field") == ["1", "16", "34", "70"]
    sorted_by = page.locator("#table table").first.locator("th[aria-sort=ascending], th[aria-sort=descending]")
    assert sorted_by.count() == 1
    n_layers = page.locator("#table table").first.locator("th", has_text="n_layers")
    for expected in (["1", "2", "3", DASH], ["3", "2", "1", DASH]):
        n_layers.locator("button").click()
        assert column(page, "n_layers") == expected


def test_curves_are_drawn_over_what_is_chosen(visit: Callable[..., Visit]) -> None:
    page = visit(DESKTOP).page
    plots = page.locator("#curves [data-axis], #health [data-axis]")
    assert plots.count() == 2 * 4
    for choice, section in (("images seen", "#curves"), ("batches", "#health")):
        page.locator(f"{section} .axes").get_by_label(choice).check()
        shown = page.locator("#curves [data-axis]:visible, #health [data-axis]:visible")
        texts = [str(plot.text_content()) for plot in shown.all()]
        assert len(texts) == 4
        assert all(choice in text for text in texts)


def test_commands_and_the_table_can_be_copied(visit: Callable[..., Visit]) -> None:
    page = visit(DESKTOP).page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    copied = []
    for button in (page.locator("button.copy").first, page.locator("button.copy").last):
        button.click()
        page.wait_for_function("(b) => b.textContent === 'Copied'", arg=button.element_handle(), timeout=5000)
        copied.append(page.evaluate("navigator.clipboard.readText()"))
    assert copied[0].startswith("| discriminator | n_layers | receptive field |")
    assert copied[1] == "patchlight-report runs=sweep"


def test_the_input_stays_in_view_beside_outputs_that_wrap(visit: Callable[..., Visit]) -> None:
    page = visit(PHONE).page
    row = page.locator("#samples .samples").first
    tops = row.locator(".outputs figure").evaluate_all("(all) => all.map((f) => f.getBoundingClientRect().top)")
    assert len(set(tops)) == 2
    page.evaluate(f"scrollTo(0, scrollY + {tops[-1]})")
    given = row.locator(".given")
    page.wait_for_function("(e) => Math.abs(e.getBoundingClientRect().top) < 20", arg=given.element_handle())
    assert row.locator(".bar").first.inner_text().split() == ["fake", "real"]


def test_what_it_says(visit: Callable[..., Visit]) -> None:
    page = visit(DESKTOP).page
    assert page.locator("h1").inner_text() == "Depth & <norm>"
    assert "12 finished runs in 4 groups, 3 seeds; 4 runs not in the table; 2 alarms." in page.inner_text("header")
    assert page.locator(".notice").count() == 0
    assert page.locator("#table table").first.locator("td.best").count() == 4
    decided = page.locator(".verdicts li").all_inner_texts()
    assert [text.partition(", by ")[0] for text in decided] == [
        f"{name}: best is 70 px" for name in ("l1", "psnr", "lpips", "frechet_alexnet")
    ]
    assert "Compared: receptive field." in page.inner_text("header")
    assert "the loss d_fake is not finite" in page.inner_text("#missing")
    assert "metrics.json is damaged" in page.inner_text("#missing")
    assert "Nearly every patch is told." in page.inner_text("#health")
    assert "Frechet distance of Gaussians" in page.inner_text("#protocol")
    commands = page.inner_text("#reproduce")
    assert commands.count("patchlight-train experiment=facades_pix2pix") == 12
    assert "patchlight-report runs=sweep" in commands
    assert "2.14.1" in commands
    titles = page.locator("#effect svg").evaluate_all("(all) => all.map((svg) => svg.getAttribute('aria-label'))")
    assert titles == ["l1", "psnr", "lpips", "frechet_alexnet"]


def test_it_is_one_small_file_that_asks_for_nothing(page_file: Path) -> None:
    html = page_file.read_text(encoding="utf-8")
    assert len(html.encode()) < 10_000_000
    assert "default-src 'none'" in html
    links = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert {link[:5] for link in links if not link.startswith("#")} == {"data:"}


def test_nan_counts_as_worst_and_protocols_are_announced(
    make_run: MakeRun, protocol: dict[str, Any], tmp_path: Path, visit: Callable[..., Visit]
) -> None:
    for n_layers, value in ((1, math.nan), (2, 0.2), (3, 0.3)):
        changes = {"question": "How large <b>?"}
        root = make_run(str(n_layers), n_layers=n_layers, figures={"l1": value, "psnr": value}, changes=changes).parent
    make_run("4", n_layers=4, figures={"l1": 0.1, "psnr": 1.0}, protocol=protocol | {"images": 5}, commit="f" * 40)
    make_run("5", n_layers=4, figures={"l1": 0.1, "psnr": 1.0}, protocol=protocol | {"images": 5}, commit="f" * 40)
    write_report([root], tmp_path / "report")
    page = visit(PHONE, file=tmp_path / "report" / "index.html").page
    assert page.title() == "facades: Pix2Pix (UNetGenerator) on facades"
    assert page.locator(".question").all_inner_texts() == ["How large <b>?"]
    notices = page.locator(".notice").all_inner_texts()
    assert "images: 106 (A), 5 (B)" in notices[0]
    assert "142 px: 0" in notices[1]
    assert "ffffffffffff: 2 runs" in notices[2]
    for name, expected in (
        ("l1 (protocol A)", ["34", "70", "16", "142"]),
        ("psnr (protocol A)", ["70", "34", "16", "142"]),
    ):
        page.locator("#table table").first.locator("th", has_text=name).locator("button").click()
        assert column(page, "receptive field") == expected
    assert column(page, "l1 (protocol A)")[2] == "NaN n = 1"
    assert column(page, "l1 (protocol B)") == [DASH, DASH, DASH, "0.1000 ± 0.0000"]
