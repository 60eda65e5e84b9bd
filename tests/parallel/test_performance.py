"""The settings of the `perf` group, and the precision that suits a device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from tiny_methods import SGD, assert_equal, cut, fit, images, pix2pixhd

from patchlight.build import build_method, build_performance
from patchlight.config.compose import compose_config
from patchlight.config.validation import validate
from patchlight.errors import ConfigError
from patchlight.methods import TranslationMethod
from patchlight.parallel import networks as perf
from patchlight.system.devices import has_bf16_units

SMALL = ["model/generator=unet_128", "model.generator.ngf=2", "model.discriminator.ndf=2"]


def prepared(precision: str = "32-true", *overrides: str) -> TranslationMethod:
    cfg = compose_config("train", [*SMALL, *overrides])
    validate(cfg)
    method = build_method(cfg.model, {"A": 3, "B": 3})
    build_performance(cfg.perf).apply(method, precision, "cpu")
    return method


def in_channels_last(method: TranslationMethod) -> bool:
    weights = [p for p in method.parameters() if p.ndim == 4 and p.shape[1] > 1]
    (found,) = {p.is_contiguous(memory_format=torch.channels_last) for p in weights}
    return found


@pytest.mark.parametrize(
    ("precision", "setting", "expected"),
    [
        ("32-true", "auto", False),
        ("64-true", "auto", False),
        ("bf16-mixed", "auto", True),
        ("16-mixed", "auto", True),
        ("32-true", "true", True),
        ("bf16-mixed", "false", False),
    ],
)
def test_the_layout_suits_the_precision(precision: str, setting: str, expected: bool) -> None:
    assert in_channels_last(prepared(precision, f"perf.channels_last={setting}")) is expected


def test_keys_do_not_change() -> None:
    plain = prepared().state_dict()
    assert list(prepared("bf16-mixed", "perf.compile=true").state_dict()) == list(plain)


def test_every_network_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[torch.nn.Module] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(self))
    method = prepared("32-true", "perf.compile=true")
    assert compiled == [method.generator, method.discriminator]
    compiled.clear()
    prepared()
    assert compiled == []


@pytest.mark.filterwarnings("ignore")  # what the compiler hides from users
@pytest.mark.parametrize(
    ("make", "passes"),
    [
        # Generator: translating both domains, encoding the outputs. Discriminator: of both images, of the output.
        # Sampler: of inputs, of outputs.
        (cut, 6),
        # Generator; features of both images and of the output.
        (pix2pixhd, 3),
    ],
)
def test_each_kind_of_pass_is_one_graph_that_is_made_once(
    make: Callable[..., TranslationMethod], passes: int, tmp_path: Path
) -> None:
    """Compiled in pieces, or again for each layer or step, they take many minutes."""
    graphs: list[torch.fx.GraphModule] = []

    def count(module: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        graphs.append(module)
        return module.forward

    plain, compiled = make(optimizer=SGD), make(optimizer=SGD)
    for network in compiled.modules_of().values():
        network.compile(backend=count, fullgraph=True)
    for method in (plain, compiled):
        fit(method, tmp_path, images(3))
    assert len(graphs) == passes
    assert_equal(plain, compiled)


def test_discriminators_with_a_penalty_are_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled networks have no second derivative: the first step would end in a traceback, minutes later."""
    compiled: list[torch.nn.Module] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(self))
    penalised = ("model/penalty=r1", "model.discriminator.norm=instance")
    method = prepared("32-true", *penalised)
    notes = perf.Performance(compile=True).apply(method, "32-true", "cpu")
    assert compiled == [method.generator]
    assert notes == ["perf.compile: discriminators with a penalty are not compiled, the generators are"]
    assert perf.Performance(compile=True).apply(prepared(), "32-true", "cpu") == []


def test_compiling_needs_a_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ConfigError, match=r"perf\.compile=true needs a C\+\+ compiler on a CPU, and there is no g\+\+"):
        prepared("32-true", "perf.compile=true")
    monkeypatch.setenv("CXX", "my-c++")
    with pytest.raises(ConfigError, match=r"there is no my-c\+\+"):
        prepared("32-true", "perf.compile=true")


def test_gradient_checkpointing_reaches_the_generator() -> None:
    image = torch.randn(1, 3, 128, 128)
    calls: dict[bool, int] = {}
    for setting in (False, True):
        generator = prepared("32-true", f"perf.gradient_checkpointing={str(setting).lower()}").generator  # type: ignore[union-attr]
        forwards: list[int] = []
        generator.encoder[0].register_forward_pre_hook(lambda *_, forwards=forwards: forwards.append(1))
        generator(image).sum().backward()
        calls[setting] = len(forwards)
    assert calls == {False: 1, True: 2}


def test_a_generator_that_cannot_compute_again_is_told_of() -> None:
    method = prepared()

    def refuse() -> None:
        raise ValueError("Mine cannot compute its features again: it has no recompute_features")

    method.generator.recompute_features = refuse  # type: ignore[method-assign, union-attr]
    with pytest.raises(ConfigError, match=r"^perf\.gradient_checkpointing: Mine cannot"):
        perf.Performance(gradient_checkpointing=True).apply(method, "32-true", "cpu")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("perf.compile=perhaps", r"perf\.compile=perhaps should be a valid boolean"),
        ("perf.channels_last=1.5", r"perf\.channels_last=1\.5 should be .*'auto'"),
        ("+perf.fast=true", r"perf\.fast is no key"),
        ("trainer.precision=8-bit", r"trainer\.precision=8-bit should be"),
    ],
)
def test_wrong_values_are_named(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(compose_config("train", [override]))


@pytest.mark.parametrize(("units", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_auto_is_what_the_device_has_units_for(units: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perf, "has_bf16_units", lambda device: units)
    cfg: Any = OmegaConf.create({"precision": "auto", "accelerator": "cpu"})
    validate(compose_config("train", ["trainer.precision=auto"]))
    perf.resolve_precision(cfg)
    assert cfg.precision == expected
    cfg.precision = "64-true"
    perf.resolve_precision(cfg)
    assert cfg.precision == "64-true"


def test_mps_has_no_such_units() -> None:
    assert not has_bf16_units(torch.device("mps"))
