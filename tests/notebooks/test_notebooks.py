"""The notebooks: kept without outputs, run from beginning to end, and right in what they say."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from patchlight.system.job_record import VARIABLE

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NAMES = ["01_quickstart", "02_what_a_patch_sees", "03_compare_runs"]
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
SECONDS_PER_CELL = 600
"""Far more than a cell needs: notebooks take about a minute on a quiet core, and the machine may be a busy one."""

OF_A_MACHINE = re.compile(r"(?<![\w.])/(?:home|root|Users|tmp|mnt|work|opt|var|usr)/|[A-Z]:\\|localhost|127\.0\.0\.1")


def read(name: str) -> NotebookNode:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)  # type: ignore[no-any-return,no-untyped-call]


def run(name: str, folder: Path, facts: Mapping[str, str]) -> dict[str, Any]:
    """Run a notebook in a folder; returns the values of some expressions, by name, when it is through.

    An error in a cell raises, and a notebook that is a pleasure to read prints no warnings.
    """
    notebook = read(name)
    values = ", ".join(f"{key!r}: {expression}" for key, expression in facts.items())
    probe = nbformat.v4.new_code_cell(f"import json\nprint(json.dumps({{{values}}}, default=float))")  # type: ignore[no-untyped-call]
    notebook.cells.append(probe)
    client = NotebookClient(notebook, timeout=SECONDS_PER_CELL, resources={"metadata": {"path": str(folder)}})
    # The figures of a training change a little with the number of threads.
    env = {
        name: value for name, value in os.environ.items() if name != VARIABLE
    }  # the record of another test's command
    client.execute(env=env | {"OMP_NUM_THREADS": "1"})
    assert [output.text for cell in code(notebook) for output in cell.outputs if output.get("name") == "stderr"] == []
    return json.loads(notebook.cells[-1].outputs[-1].text)  # type: ignore[no-any-return]


def code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_these_are_all_notebooks() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_notebooks_are_kept_without_outputs_and_without_traces_of_a_machine(name: str) -> None:
    notebook = read(name)
    nbformat.validate(notebook)  # type: ignore[no-untyped-call]
    assert notebook.metadata == METADATA
    assert all(cell.metadata == {} for cell in notebook.cells)
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code(notebook))
    assert not any("attachments" in cell for cell in notebook.cells)
    found = [match.group() for cell in notebook.cells for match in OF_A_MACHINE.finditer(cell.source)]
    assert found == []


@pytest.mark.parametrize("name", NAMES)
def test_notebooks_begin_with_a_title_and_explain_their_code(name: str) -> None:
    cells = read(name).cells
    assert re.match(rf"# {int(name[:2])}\. ", cells[0].source)
    text = sum(len(cell.source.split()) for cell in cells if cell.cell_type == "markdown")
    assert text > 250
    for link in re.findall(r"\]\(([\w./-]+\.ipynb)\)", "".join(cell.source for cell in cells)):
        assert (FOLDER / link).is_file()


@pytest.mark.slow
def test_the_quickstart_trains_a_model_that_learned(tmp_path: Path) -> None:
    facts = run(
        "01_quickstart",
        tmp_path,
        {
            "metrics": "result.figures",
            "images": "result.protocol['images']",
            "files": "[str(p.relative_to(result.folder)) for p in result.folder.rglob('*') if p.is_file()]",
            "facade": "facade.size",
            "shapes": "{name: list(image.shape) for name, image in images.items()}",
            "map": "list(logits_fake.shape)",
            "field": "grid.field",
            "steps": "curves['step'].max()",
        },
    )
    untrained, last = facts["metrics"]["untrained"], facts["metrics"]["last"]
    assert last["psnr"] > untrained["psnr"] + 1
    assert last["ssim"] > untrained["ssim"] + 0.1
    assert last["l1"] < untrained["l1"] - 0.05
    assert facts["images"] == 16
    assert facts["facade"] == [64, 64]
    assert {"config.yaml", "manifest.json", "metrics.csv", "checkpoints/best.ckpt"} <= set(facts["files"])
    assert facts["shapes"]["fake_B"] == [4, 3, 64, 64]
    assert facts["map"] == [4, 1, 14, 14]
    assert facts["field"] == 34
    assert facts["steps"] == 160
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "logs"]


@pytest.mark.slow
def test_what_a_patch_sees_measures_what_it_says(tmp_path: Path) -> None:
    facts = run(
        "02_what_a_patch_sees",
        tmp_path,
        {
            "layers": "layers['field r'].tolist()",
            "arithmetic": "arithmetic.values.tolist()",
            "measured": "list(measured.values())",
            "effective": "list(effective.values())",
            "leaks": "{key: float(value) for key, value in leaks.items()}",
            "results": "results.to_dict('index')",
            "right": "right.mean(axis=1).to_dict()",
            "maps": "{name: list(fake.shape[-2:]) for name, (_, (fake,)) in scored.items()}",
            "spectra": "{name: float(spectrum(outputs[name]['fake_B'])[9:].mean()) for name in VARIANTS}",
        },
    )
    assert facts["layers"] == [4, 10, 22, 46, 70]
    fields = [16, 34, 70, 142, 286, 574]
    assert [row[0] for row in facts["arithmetic"]] == [row[1] for row in facts["arithmetic"]] == fields
    maps_256 = ["126 x 126", "62 x 62", "30 x 30", "14 x 14", "6 x 6", "2 x 2"]
    assert [row[2] for row in facts["arithmetic"]] == maps_256
    assert facts["measured"] == fields
    # More in the middle than if all pixels counted the same.
    assert all(half < 0.69 * field for half, field in zip(facts["effective"], fields, strict=True))
    assert facts["leaks"]["none"] == pytest.approx(0, abs=1e-9)
    assert facts["leaks"]["batch"] > 0.02
    assert facts["leaks"]["instance"] > 0.02
    assert facts["maps"] == {"L1 + pixel": [64, 64], "L1 + 16 px": [30, 30], "L1 + 34 px": [14, 14]}
    assert all(0.5 < share <= 1 for share in facts["right"].values())
    sharpness = {name: row["sharpness (1 is right)"] for name, row in facts["results"].items()}
    l1 = {name: row["L1 ↓"] for name, row in facts["results"].items()}
    assert sharpness["L1"] < 0.7
    for patch in ("L1 + 16 px", "L1 + 34 px"):
        assert sharpness[patch] > 1.15 * sharpness["L1"]
        assert sharpness[patch] > sharpness["L1 + pixel"]
        assert facts["spectra"][patch] > facts["spectra"]["L1"]
        assert l1[patch] > l1["L1"]


@pytest.mark.slow
def test_compare_runs_groups_a_sweep_by_patch_size(tmp_path: Path) -> None:
    facts = run(
        "03_compare_runs",
        tmp_path,
        {
            "runs": "[[run.status, run.seed] for run in comparison.runs]",
            "labels": "[group.label for group in groups]",
            "seeds": "[group.seeds for group in groups]",
            "columns": "[column.name for column in comparison.table.columns]",
            "cells": "{f'{g} {name}': [c.mean, c.std, c.n] for (g, name), c in comparison.table.cells.items()}",
            "psnr": "[[run.figures['last']['psnr'] for run in group.runs] for group in groups]",
            "protocols": "len(comparison.protocols)",
            "curves": "{name: [len(curve) for curve in of.values()] for name, of in curves.items()}",
            "plots": "len(plots)",
            "report": "[path.name for path in report.paths[:4]]",
        },
    )
    assert facts["runs"] == [["finished", 1], ["finished", 2]] * 3
    assert facts["labels"] == ["1 px", "16 px", "34 px"]
    assert facts["seeds"] == ["1, 2"] * 3
    assert facts["columns"] == ["l1", "psnr", "ssim"]
    assert facts["protocols"] == 1
    assert facts["plots"] == 3
    for number, (one, other) in enumerate(facts["psnr"]):
        mean, std, n = facts["cells"][f"{number} psnr"]
        assert mean == pytest.approx((one + other) / 2)
        assert std == pytest.approx(abs(one - other) / 2**0.5)
        assert n == 2
    assert facts["curves"]["train/g_l1"] == [24] * 3
    assert facts["report"] == ["index.html", "table.csv", "runs.csv", "table.md"]
    assert (tmp_path / "logs" / "compare" / "report" / "index.html").is_file()
