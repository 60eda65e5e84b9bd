from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from patchlight.reporting.collect import Run
from patchlight.reporting.directions import named_by_direction
from patchlight.reporting.protocols import Protocols


def run(name: str, protocol: Mapping[str, Any], *metrics: str) -> Run:
    figures = dict.fromkeys(metrics or ("l1", "psnr"), 0.5)
    return Run(Path(name), name, "finished", figures={"last": figures, "best": figures}, protocol=protocol)


def columns(runs: list[Run], metric: str, weights: str = "last") -> list[str]:
    return ["".join(p.letter for p in together) for together in Protocols(runs, weights).columns(metric)]


def test_seeds_and_the_other_metrics_do_not_matter(protocol: dict[str, Any]) -> None:
    other = protocol | {"seeds": {"run": 1}, "metrics": {"l1": protocol["metrics"]["l1"], "kid": "another"}}
    runs = [run("a", protocol), run("b", other, "l1", "kid")]
    assert columns(runs, "l1") == ["A"]
    assert [p.runs for p in Protocols(runs, "last").all] == [["a", "b"]]


@pytest.mark.parametrize(
    "change", [{"image_size": 256}, {"images": 10}, {"inference_mode": "eval"}, {"compared": {"rec_A": "real_A"}}]
)
def test_everything_else_matters(protocol: dict[str, Any], change: dict[str, Any]) -> None:
    runs = [run("a", protocol), run("b", protocol | change), run("c", protocol)]
    assert columns(runs, "l1") == ["A", "B"]
    protocols = Protocols(runs, "last")
    assert [p.runs for p in protocols.all] == [["a", "c"], ["b"]]
    differing = [key.partition(".")[0] for key, _, differs in protocols.rows() if differs]
    assert set(differing) == set(change)


def test_how_a_model_makes_its_images_is_a_choice_unless_measuring_asked_for_another(protocol: dict[str, Any]) -> None:
    protocol = protocol | {"precision": "32-true"}
    ema = {"ema": {"_target_": "patchlight.callbacks.EMA"}}
    paper = {"model": {"inference_mode": "paper"}, "callbacks": {"ema": None}, "trainer": {"precision": "32-true"}}
    averaged = {"model": {"inference_mode": "eval"}, "callbacks": ema, "trainer": {"precision": "bf16-mixed"}}
    other = protocol | {"inference_mode": "eval", "weights": "moving average", "precision": "bf16-mixed"}
    runs = [
        replace(run("paper", protocol), config=paper),
        replace(run("fast", other), config=averaged),
        replace(run("asked for", protocol | {"inference_mode": "eval"}), config=paper),
        replace(run("raw", other | {"weights": "as trained"}), config=averaged),
        replace(run("in full", other | {"precision": "32-true"}), config=averaged),
    ]
    protocols = Protocols(runs, "last")
    assert [p.runs for p in protocols.all] == [["paper", "fast"], ["asked for"], ["raw"], ["in full"]]
    assert columns(runs, "l1") == ["A", "B", "C", "D"]
    said = {key: texts for key, texts, differs in protocols.rows() if differs}
    chosen = "as the run's configuration has it"
    assert said == {
        "inference_mode": [chosen, "eval", chosen, chosen],
        "weights": [chosen, chosen, "as trained", chosen],
        "precision": [chosen, chosen, chosen, "32-true"],
    }


def test_a_metric_that_is_another_has_its_own_column_and_the_others_do_not(protocol: dict[str, Any]) -> None:
    other = protocol | {"metrics": protocol["metrics"] | {"psnr": "of another kind"}}
    runs = [run("a", protocol), run("b", other)]
    assert columns(runs, "l1") == ["AB"]
    assert columns(runs, "psnr") == ["A", "B"]
    assert ("metrics.psnr", [protocol["metrics"]["psnr"], "of another kind"], True) in Protocols(runs, "last").rows()


def test_another_extractor_is_another_metric(protocol: dict[str, Any]) -> None:
    entry = protocol["metrics"]["frechet_alexnet"] | {"sha256": "0"}
    other = protocol | {"metrics": protocol["metrics"] | {"frechet_alexnet": entry}}
    runs = [run("a", protocol, "fake_B/frechet_alexnet"), run("b", other, "fake_B/frechet_alexnet")]
    assert columns(runs, "fake_B/frechet_alexnet") == ["A", "B"]
    differing = [key for key, _, differs in Protocols(runs, "last").rows() if differs]
    assert differing == ["metrics.frechet_alexnet.sha256"]


def test_what_an_old_run_did_not_record_is_not_taken_for_equal(protocol: dict[str, Any]) -> None:
    old = {key: value for key, value in protocol.items() if key not in ("files", "metrics")}
    runs = [run("a", protocol), run("b", old), run("c", {})]
    assert columns(runs, "l1") == ["A", "B", "C"]
    rows = {key: (texts, differs) for key, texts, differs in Protocols(runs[:2], "last").rows()}
    assert rows["files"] == (["0123456789ab", "not recorded"], True)
    assert rows["metrics.l1"] == ([protocol["metrics"]["l1"], "not recorded"], True)
    assert rows["split"] == (["test", "test"], False)


def test_a_metric_that_one_run_lacks_is_no_contradiction(protocol: dict[str, Any]) -> None:
    runs = [run("a", protocol, "l1"), run("b", protocol | {"images": 5}, "l1", "psnr")]
    rows = {key: (texts, differs) for key, texts, differs in Protocols(runs, "last").rows()}
    assert rows["metrics.psnr"] == (["no figure", protocol["metrics"]["psnr"]], False)


def test_what_best_means_matters_for_the_best_weights(protocol: dict[str, Any]) -> None:
    runs = [run("a", protocol), run("b", protocol | {"best_is": "min val/lpips"})]
    assert columns(runs, "l1", "last") == ["A"]
    assert columns(runs, "l1", "best") == ["A", "B"]


def test_there_are_letters_for_many(protocol: dict[str, Any]) -> None:
    runs = [run(str(i), protocol | {"images": i}) for i in range(30)]
    assert [p.letter for p in Protocols(runs, "last").all][24:29] == ["Y", "Z", "AA", "AB", "AC"]


def test_distances_between_sets_do_not_ask_which_images_are_pairs(protocol: dict[str, Any]) -> None:
    """CUT and a CycleGAN share a column of a distance, in either order; a CycleGAN and pix2pix none of L1."""
    distance, paired = "fake_B/frechet_alexnet", ("l1", "fake_B/frechet_alexnet")
    runs = [
        run("cut", protocol | {"compared": {}}, distance),
        run("cyclegan", protocol | {"compared": {"rec_A": "real_A"}}, *paired),
        run("pix2pix", protocol, *paired),
    ]
    for order in (runs, runs[::-1]):
        assert sorted(map(len, columns(order, distance))) == [2]
        assert sorted(columns(order, "l1")) == ["A", "B"]
    other = run("other", protocol | {"compared": {}, "images": 5}, distance)
    assert columns([runs[0], other], distance) == ["A", "B"]


def test_a_figure_of_one_direction_is_named_as_where_there_are_two(protocol: dict[str, Any]) -> None:
    two = run("two", protocol | {"direction": "AtoB"}, "l1", "kid", "fake_A/kid", "fake_B/kid")
    one = [run(way, protocol | {"direction": way}, "l1", "kid") for way in ("AtoB", "BtoA")]
    assert [list(found.figures["last"]) for found in named_by_direction([two, *one])] == [
        ["l1", "kid", "fake_A/kid", "fake_B/kid"], ["l1", "fake_B/kid"], ["l1", "fake_A/kid"],
    ]  # fmt: skip
    assert [found.figures for found in named_by_direction(one)] == [found.figures for found in one]
