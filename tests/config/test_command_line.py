from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from patchlight.config.command_line import FREE_MAPPINGS, Plan, with_free_keys
from patchlight.config.compose import compose_config, job_folder, job_name, sweep_folder
from patchlight.config.validation import validate
from patchlight.errors import ConfigError
from patchlight.system.job_record import VARIABLE, JobRecord


def plan(*command_line: str, params: tuple[str, ...] = ()) -> Plan:
    parse = OverridesParser.create().parse_overrides
    return Plan.of(parse(list(params)), parse(list(command_line)))


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")


def test_the_command_line_goes_before_the_sweeper() -> None:
    params = ("model.gan_mode=lsgan,vanilla", "seed=0,1,2")
    found = plan("seed=7", "data.val_size=4", "hydra.verbose=true", params=params)
    assert found.keys == ["model.gan_mode"]
    rest = ["seed=7", "data.val_size=4", "hydra.verbose=true"]
    assert list(found.variants()) == [
        ("", ["model.gan_mode=lsgan", *rest]), ("model.gan_mode=vanilla", ["model.gan_mode=vanilla", *rest]),
    ]  # fmt: skip


def test_every_value_is_met_once_and_an_interval_at_its_ends() -> None:
    found = plan("seed=range(0,3)", "model.lambda_l1=tag(log,interval(1,100))")
    assert [label for label, _ in found.variants()] == ["", "seed=1", "seed=2", "model.lambda_l1=100.0"]
    assert next(found.variants())[1] == ["seed=0", "model.lambda_l1=1.0"]


def test_the_folder_is_that_of_what_the_jobs_have_in_common() -> None:
    grid = ("model.gan_mode=lsgan,vanilla",)
    folder = plan("sweep=gan_mode", "data.val_size=4", "model.lambda_l1=3", params=grid).folder("gan_mode", False)
    assert folder.startswith("gan_mode-")
    assert len(folder) == len("gan_mode-") + 8
    same = (
        "model.lambda_l1=3",
        "data.val_size=4",
        "launcher=joblib",
        "hydra.launcher.n_jobs=3",
        "resume=null",
        "seed=1,2",
    )
    assert plan(*same, params=grid).folder("gan_mode", False) == folder
    assert plan("data.val_size=5", "model.lambda_l1=3", params=grid).folder("gan_mode", False) != folder
    search = plan("data.val_size=4", params=grid).folder("optuna", True)
    assert plan("data.val_size=4", "hydra.sweeper.n_trials=9", params=grid).folder("optuna", True) == search
    assert plan("data.val_size=4", "model.gan_mode=lsgan,hinge", params=grid).folder("optuna", True) != search


def test_names_are_handed_on() -> None:
    JobRecord("x", sweep="seeds-01234567", swept=("seed", "model/generator")).hand_on()
    assert sweep_folder() == "seeds-01234567"
    assert job_folder(4, ["seed=2", "model/generator=unet_128", "task=x"]) == "generator=unet_128,seed=2"
    JobRecord("x", swept=("seed",)).hand_on()
    assert sweep_folder() == "x"
    assert job_folder(4, ["seed=2"]) == "4"


def test_names_of_jobs() -> None:
    overrides = ["seed=3", "model/discriminator=patch70", "data.root=a/b c", "model.generator.norm=batch",
                 "model.discriminator.norm=none"]  # fmt: skip
    assert job_name(overrides, ["seed", "model/discriminator"]) == "discriminator=patch70,seed=3"
    assert job_name(overrides, ["model.generator.norm", "seed"]) == "norm=batch,seed=3"
    both = ["model.generator.norm", "model.discriminator.norm"]
    assert (
        job_name(overrides, both) == job_name(overrides, both[::-1]) == "discriminator.norm=none,generator.norm=batch"
    )
    unsafe, other = (job_name([value], ["data.root"]) for value in ("data.root=a/b c", "data.root=a/b_c"))
    assert unsafe.startswith("root=a_b_c-")
    assert unsafe != other
    long = job_name([f"model.gan_mode={'x' * 300}"], ["model.gan_mode"])
    assert len(long) == 120
    assert long != job_name([f"model.gan_mode={'x' * 301}"], ["model.gan_mode"])
    assert job_name(["seed=1"], []) == ""


def test_mappings_whose_keys_are_free() -> None:
    """As they are typed, without Hydra's plus signs; what stands in them is checked all the same."""
    words = with_free_keys(
        [
            "model.generator_terms={l1:{_target_:patchlight.losses.FeatureMatching}}",
            "model.penalties.r1={_target_:patchlight.losses.R1,gamma:3}",
            "model.optimizers.q._target_=torch.optim.Adam",
            "model.discriminator_augment={_target_:own.Noise}",
            "callbacks.quality.metrics.mse={_target_:torchmetrics.regression.MeanSquaredError}",
            "model.optimizer.lr=1",
        ],
        FREE_MAPPINGS,
    )
    cfg = compose_config("train", words)
    assert cfg.model.generator_terms.l1._target_ == "patchlight.losses.FeatureMatching"
    assert cfg.model.penalties.r1.gamma == 3
    assert cfg.model.optimizers.q == {"_target_": "torch.optim.Adam"}
    assert cfg.model.discriminator_augment._target_ == "own.Noise"
    assert cfg.callbacks.quality.metrics.mse._target_ == "torchmetrics.regression.MeanSquaredError"
    assert words[-1] == "model.optimizer.lr=1"
    assert plan(words[1]).folder("s", False) == plan(words[1].removeprefix("++")).folder("s", False)
    wrong = with_free_keys(["model.penalties.r1.gama=3", "model/penalty=r1"], FREE_MAPPINGS)
    with pytest.raises(ConfigError, match=r"^model\.penalties\.r1\.gama is no key .*did you mean gamma\?"):
        validate(compose_config("train", [*wrong]))
