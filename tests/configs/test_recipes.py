"""A recipe moves the settings of a method, and what an experiment or a command states stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from patchlight.config.compose import compose_config, config_dir
from patchlight.config.validation import validate

pytestmark = pytest.mark.untraced  # Hydra's own code

FOLDER = config_dir() / "recipe"
PARTS = [
    "_cyclegan/fast",
    "_data/pix2pix_fast",
    "_discriminator/pix2pix_fast",
    "_optimizer_d/fast",
    "_optimizer_d/pix2pix_fast",
    "_pix2pix/fast",
    "_resnet/cyclegan_fast",
    "_unet/fast",
]
RECIPES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
MODELS = sorted(path.stem for path in (config_dir() / "model").glob("[!_]*.yaml"))


def flat(cfg: DictConfig) -> dict[str, object]:
    """All values by their full keys."""
    found: dict[str, object] = {}

    def collect(node: object, place: str) -> None:
        if isinstance(node, dict) and node:
            for key, value in node.items():
                collect(value, f"{place}.{key}" if place else str(key))
        else:
            found[place] = node

    collect(OmegaConf.to_container(cfg, resolve=False), "")
    return found


def composed(*overrides: str) -> dict[str, object]:
    cfg = compose_config("train", list(overrides))
    validate(cfg)
    return flat(cfg)


def stated(name: str, place: str = "") -> dict[str, object]:
    """What a file of the recipe says, by full keys, if there is one."""
    path = FOLDER / name
    keys = flat(OmegaConf.load(path)) if path.exists() else {}
    included = keys.pop("defaults", [])
    assert isinstance(included, list)
    found = {place + key: value for key, value in keys.items()}
    for entry in included:
        found |= {} if entry == "_self_" else stated(f"..{entry}.yaml", "model.generator_terms.")
    return found


def test_recipes_that_there_are() -> None:
    assert RECIPES == ["fast", "paper"]
    assert sorted(path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.glob("_*/*.yaml")) == PARTS


@pytest.mark.parametrize("model", MODELS)
def test_a_recipe_changes_what_its_files_say_and_nothing_else(model: str) -> None:
    paper, fast = composed(f"model={model}"), composed(f"model={model}", "recipe=fast")
    expected = stated("fast.yaml") | stated(f"_{model}/fast.yaml") | stated("_optimizer_d/fast.yaml")
    generators = {"UNetGenerator": "_unet/fast.yaml", "ResNetGenerator": f"_resnet/{model}_fast.yaml"}
    generator = str(paper["model.generator._target_"]).rpartition(".")[2]
    expected |= stated(generators.get(generator, "none"), "model.generator.")
    expected |= stated(f"_optimizer_d/{model}_fast.yaml", "model.")
    expected |= stated(f"_discriminator/{model}_fast.yaml", "model.discriminator.")
    expected |= stated(f"_data/{model}_fast.yaml", "data.")
    differing = {key for key in paper.keys() | fast.keys() if paper.get(key) != fast.get(key)}
    assert differing - {"model.optimizer_d", "model.generator_terms"} <= expected.keys()
    assert {key: fast[key] for key in expected} == expected
    assert {"recipe", "callbacks.ema.decay"} <= differing


def test_a_recipe_leaves_other_networks_and_optimizers_as_they_are_chosen() -> None:
    own = composed("recipe=fast", "model/generator=resnet_9", "model/optimizer_d=sgd")
    assert "model.generator.num_downs" not in own
    assert (own["model.optimizer_d._target_"], own["model.optimizer_d.momentum"]) == ("torch.optim.SGD", 0.9)
    assert own["model.optimizer_d.lr"] == composed("model/optimizer_d=sgd")["model.optimizer_d.lr"]
    assert composed("recipe=fast")["model.discriminator.n_layers"] == 2
    assert composed("recipe=fast", "model/discriminator=patch70")["model.discriminator.n_layers"] == 3
    assert composed("recipe=fast", "model/discriminator=patch70")["model.discriminator.norm"] == "batch"


def test_what_is_stated_elsewhere_stays() -> None:
    demo = composed("experiment=demo", "recipe=fast")
    assert demo["model.lambda_l1"] == 50.0 != composed("recipe=fast")["model.lambda_l1"]
    assert composed("recipe=fast", "model.lambda_l1=7")["model.lambda_l1"] == 7
    assert composed("recipe=fast", "~model.generator_terms.feature_matching")["model.generator_terms"] == {}
    both = composed("recipe=fast", "model/generator_term=[ssim]", "model.generator_terms.feature_matching.weight=3")
    assert [both[f"model.generator_terms.{name}.weight"] for name in ("ssim", "feature_matching")] == [10.0, 3]


def test_a_recipe_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "recipe/_pix2pix").mkdir(parents=True)
    (tmp_path / "recipe/mine.yaml").write_text("# @package _global_\nrecipe: mine\nperf:\n  channels_last: true\n")
    (tmp_path / "recipe/_pix2pix/mine.yaml").write_text("# @package _global_\nmodel:\n  lambda_l1: 3.0\n")
    own = composed(f"hydra.searchpath=[file://{tmp_path}]", "recipe=mine", "experiment=facades_pix2pix")
    assert (own["recipe"], own["perf.channels_last"], own["model.lambda_l1"]) == ("mine", True, 3.0)
