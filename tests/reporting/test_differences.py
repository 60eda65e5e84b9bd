from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from patchlight.reporting.collect import Run, collect
from patchlight.reporting.differences import Settings, find_differences, natural, text_of

MakeRun = Callable[..., Path]


def compare(*configs: Mapping[str, Any], ignore: tuple[str, ...] = ()) -> Settings:
    runs = [Run(Path(str(i)), str(i), "finished", config=config) for i, config in enumerate(configs)]
    return find_differences(runs, ignore)


def test_depth_is_found_and_seeds_and_folders_are_not(sweep: Path) -> None:
    settings = find_differences([run for run in collect([sweep]) if run.finished])
    assert settings.names == {
        "model.discriminator._target_": "discriminator",
        "model.discriminator.n_layers": "n_layers",
        "receptive_field": "receptive field",
        "map_size": "patch map",
    }
    assert list(settings.table.loc["0-1"]) == ["PixelDiscriminator", "", "1", "128x128"]
    assert list(settings.table.loc["3-1"]) == ["PatchDiscriminator", "3", "70", "14x14"]
    # One thing differed, though four columns say it.
    assert settings.factors == ["receptive_field"]
    assert settings.label("3-1") == "70 px"


def test_several_things(make_run: MakeRun) -> None:
    for i, (n_layers, mode) in enumerate([(1, "lsgan"), (1, "vanilla"), (3, "lsgan")]):
        make_run(str(i), n_layers=n_layers, figures={"l1": 0.3}, changes={"model.gan_mode": mode})
    settings = find_differences(collect([make_run("x", figures={"l1": 1.0}).parent]))
    assert settings.factors == ["receptive_field", "model.gan_mode"]
    assert settings.label("2") == "70 px, gan_mode=lsgan"


def test_a_receptive_field_that_follows_from_something_else_is_no_factor(make_run: MakeRun) -> None:
    # The same field by two kinds of discriminators, so that the field does not say which.
    make_run("0", n_layers=1, figures={"l1": 0.3}, changes={"model.discriminator._target_": "mine.Other"})
    make_run("1", n_layers=1, figures={"l1": 0.3})
    folder = make_run("2", n_layers=3, figures={"l1": 0.3})
    settings = find_differences(collect([folder.parent]))
    assert settings.factors == ["model.discriminator._target_", "model.discriminator.n_layers"]


def test_the_seed_of_something_else_counts() -> None:
    follows = compare({"seed": 0, "data": {"seed": 0}}, {"seed": 1, "data": {"seed": 1}})
    assert follows.names == {}
    assert follows.label("0") == "all runs"
    assert compare({"seed": 0, "data": {"seed": 0}}, {"seed": 1, "data": {"seed": 0}}).names == {}
    assert compare({"seed": 0, "data": {"seed": 5}}, {"seed": 0, "data": {"seed": 6}}).names == {"data.seed": "seed"}


def test_what_changes_with_the_method_or_the_recipe_alone_is_no_column() -> None:
    cycle = {"_target_": "patchlight.methods.CycleGAN", "pool_size": 50, "generator": {"antialias": "none"}}
    cut = {"_target_": "patchlight.methods.CUT", "num_patches": 256, "generator": {"antialias": "both"}}
    runs = [
        {
            "seed": seed,
            "model": model | ({"pool_seed": seed} if model is cycle else {}),
            "data": {"image_size": size},
            "trainer": {"precision": precision},
        }
        for model, size, precision in ((cycle, 64, "32-true"), (cut, 128, "bf16-mixed"))
        for seed in (0, 1)
    ]
    settings = compare(*runs)
    assert settings.columns == settings.factors == ["model._target_", "data.image_size"]
    assert sorted(settings.followers) == ["antialias", "num_patches", "pool_size", "precision"]
    assert settings.label("2") == "model=CUT, image_size=128"
    runs[3]["model"] = cut | {"num_patches": 64}
    assert "model.num_patches" in compare(*runs).columns
    fast = {"recipe": "fast", "model": {"lr": 1, "norm": "batch"}, "callbacks": {"ema": {"decay": 0.9}}}
    paper = {"recipe": "paper", "model": {"lr": 2, "norm": "none"}, "callbacks": {}}
    assert compare(fast, paper).columns == ["recipe"]


def test_names_are_as_short_as_they_can_be() -> None:
    settings = compare(
        {"g": {"norm": "batch", "ngf": 64}, "d": {"norm": "batch", "_target_": "a.B"}},
        {"g": {"norm": "none", "ngf": 32}, "d": {"norm": "none", "_target_": "a.C"}},
    )
    assert settings.names == {"g.norm": "g.norm", "g.ngf": "ngf", "d.norm": "d.norm", "d._target_": "d"}


def test_no_value_is_no_key() -> None:
    one = {"optimizer_d": None, "penalties": {}, "betas": [0.5, 0.999]}
    two = {"penalties": {"r1": {"gamma": 10.0, "_partial_": True}}, "betas": [0.5, 0.99]}
    settings = compare(one, two)
    assert list(settings.table) == ["betas", "penalties.r1.gamma"]
    assert list(settings.table.loc["0"]) == ["[0.5, 0.999]", ""]


def test_keys_can_be_ignored() -> None:
    one, two = {"data": {"num_workers": 1, "root": "a"}}, {"data": {"num_workers": 2, "root": "b"}}
    assert list(compare(one, two).table) == ["data.num_workers", "data.root"]
    assert list(compare(one, two, ignore=("data.num_workers",)).table) == ["data.root"]
    assert list(compare(one, two, ignore=("data",)).table) == []


def test_several_discriminators() -> None:
    def run(name: str, fields: list[int]) -> Run:
        geometries = {f"d{i}": {"receptive_field": f, "map_size": [f, 2]} for i, f in enumerate(fields)}
        return Run(Path(name), name, "finished", config={"a": 1}, manifest={"discriminators": geometries})

    table = find_differences([run("x", [70, 70]), run("y", [70, 34])]).table
    assert list(table["receptive_field"]) == ["70", "70 / 34"]
    assert list(table["map_size"]) == ["70x2", "70x2 / 34x2"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "true"), (100.0, "100"), (0.0002, "0.0002"), (1e20, "1e+20"), ([1, 2.0], "[1, 2]"), ("a", "a")],
)
def test_texts(value: Any, text: str) -> None:
    assert text_of(value) == text


def test_natural_order() -> None:
    assert sorted(["b", "10", "a", "9", "", "1e3"], key=natural) == ["", "9", "10", "1e3", "a", "b"]


def test_arguments_that_one_class_alone_has_follow_from_the_class(make_run: MakeRun) -> None:
    own = {"model.discriminator_augment._target_": "mine.Augment", "model.discriminator_augment.shift": 0.125}
    make_run("a", figures={"l1": 0.3})
    folder = make_run("b", figures={"l1": 0.3}, changes=own).parent
    settings = find_differences(collect([folder]))
    assert list(settings.names) == list(own)
    assert settings.factors == ["model.discriminator_augment._target_"]
    assert [settings.label(run) for run in "ab"] == ["discriminator_augment=none", "discriminator_augment=Augment"]
    # With several values of the argument it is a choice of its own.
    make_run("c", figures={"l1": 0.3}, changes=own | {"model.discriminator_augment.shift": 0.25})
    settings = find_differences(collect([folder]))
    assert settings.factors == list(own)
    assert settings.label("c") == "discriminator_augment=Augment, shift=0.25"
