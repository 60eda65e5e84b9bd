"""The check as a pure function: every hostile name in every place, and everything that the package itself writes."""

from __future__ import annotations

import builtins
import importlib
import inspect
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from omegaconf import OmegaConf

from patchlight.config.compose import compose_config
from patchlight.errors import DataError, printable
from patchlight.trust import trusted_config
from patchlight.trust.allowlist import (
    AUGMENTS,
    CALLBACKS,
    DATA,
    DISCRIMINATOR_AUGMENTS,
    DISCRIMINATORS,
    GENERATOR_TERMS,
    GENERATORS,
    LOGGERS,
    METHODS,
    METRICS,
    OBJECTIVES,
    OPTIMIZERS,
    PENALTIES,
    PERFORMANCE,
    RENDERED,
    SAMPLERS,
    SCHEDULES,
    SOURCES,
    TRAINERS,
    TRANSFORMS,
)  # fmt: skip
from patchlight.trust.allowlist import PLACES as KNOWN

Put = Callable[..., dict[str, Any]]

HOSTILE = [
    # Evaluates, runs or loads what it is given.
    "sympy.sympify", "sympy.core.sympify.sympify", "sympy.parsing.sympy_parser.parse_expr", "sympy.parse_expr",
    "torch.utils.collect_env.run", "torch.fx.graph_module._exec_with_source", "torch.fx.graph_module._forward_from_src",
    "torch._inductor.codecache.PyCodeCache.load", "torch._inductor.codecache.PyCodeCache.load_by_key_path",
    "torch.distributed.run.main", "torch.distributed.launcher.api.launch_agent", "distutils.spawn.spawn",
    "setuptools._distutils.spawn.spawn", "torch.load", "torch.jit.load", "torch.hub.load", "torch.serialization.load",
    "torch.utils.cpp_extension.load_inline", "torch.package.PackageImporter", "torch._dynamo.optimize",
    "pandas.read_pickle", "pandas.eval", "pandas.io.pickle.read_pickle", "numpy.load", "numpy.savetxt",
    "numpy.f2py.compile", "joblib.load", "pickle.load", "pickle.loads", "marshal.loads", "shelve.open", "dill.load",
    "cloudpickle.loads", "urllib.request.urlretrieve", "urllib.request.urlopen", "os.system", "os.popen", "os.execv",
    "os.remove", "os.posix_spawn", "posix.system", "nt.system", "subprocess.Popen", "subprocess.check_output",
    "pty.spawn", "shutil.rmtree", "runpy.run_path", "code.interact", "timeit.timeit", "cProfile.run", "pdb.run",
    "builtins.eval", "builtins.exec", "builtins.compile", "builtins.open", "builtins.__import__", "__builtin__.eval",
    "importlib.import_module", "importlib.reload", "pkgutil.resolve_name", "ctypes.CDLL", "multiprocessing.Process",
    "operator.methodcaller", "functools.partial", "functools.reduce", "types.FunctionType", "webbrowser.open",
    "hydra.utils.call", "hydra.utils.get_method", "hydra.utils.instantiate", "hydra._internal.utils._locate",
    "omegaconf.OmegaConf.register_new_resolver", "yaml.unsafe_load", "lightning.pytorch.Trainer.test",
    "lightning.pytorch.callbacks.LambdaCallback", "lightning.pytorch.plugins.environments.LightningEnvironment",
    "torchvision.models.alexnet", "albumentations.load", "albumentations.from_dict", "albumentations.Lambda",
    "albumentations.core.serialization.load", "albumentations.FDA", "albumentations.HistogramMatching",
    "albumentations.TextImage", "torch.optim.lr_scheduler.LambdaLR", "torch.optim.Optimizer",
    # Ways through this package to what its modules have imported, and to functions of its own.
    "patchlight.data.images.Image.open", "patchlight.build.instantiate",
    "patchlight.config.validation.importlib.import_module", "patchlight.runs.records.subprocess.run",
    "patchlight.checkpoint.torch.load", "patchlight.methods.base.torch.load",
    "patchlight.networks.layers.nn.Module", "patchlight.load",
    "patchlight.cli.train.main", "patchlight.cli.download.main",
    "patchlight.system.files.write_json", "patchlight.networks.base.nn.Sequential", "patchlight.networks.init_weights",
    "patchlight.methods.Pix2Pix.load_from_checkpoint", "patchlight.networks.UNetGenerator.__init__.__globals__",
    # Nearly right.
    "Patchlight.networks.UNetGenerator", "patchlight.networks.unetgenerator", " patchlight.networks.UNetGenerator",
    "patchlight.networks.UNetGenerator ", "patchlight.networks.UNetGenerator\n", "patchlight..networks.UNetGenerator",
    "patchlight.networks.UNetGenerator.", ".patchlight.networks.UNetGenerator", "patchlight/networks/UNetGenerator",
    "patchlight.networks:UNetGenerator", "patchlight.networks.UNetGenerator.__class__",
    "patchlight.networks.UNet\u200bGenerator",
    "p\u0430tchlight.networks.UNetGenerator", "patchlight.network\uff53.UNetGenerator", "torch.optim.adam.torch.load",
    "", ".", "..", "patchlight", "torch", "__main__.main", "${oc.env:HOME}.x",
]  # fmt: skip

NO_NAMES: list[Any] = [
    None, True, 0, 1.5, [], ["os", "system"], ["os.system"], {}, {"_target_": "os.system"}, [{"_target_": "os.system"}],
]  # fmt: skip
"""What is no name at all."""

PLACES = [
    "model", "model.generator", "model.discriminator", "model.init", "model.optimizer", "model.optimizer_d",
    "model.schedule", "model.penalties.r1", "model.penalties.more", "model.generator.norm", "model.gan_mode",
    "data", "data.augment", "data.augment.geometry[0]", "data.augment.geometry[0].p", "data.render", "data.root",
    "callbacks.quality", "callbacks.quality.feature", "callbacks.best.monitor", "callbacks.more", "logger.wandb",
    "logger.more", "trainer", "trainer.plugins", "trainer.strategy", "trainer.logger", "perf", "perf.compile", "paths",
    "paths.run_dir", "seed", "task", "more", "model.generator.norm.a.b.c.d.e.f.g.h.i",
    "model.adversarial", "model.generator_terms.x", "model.discriminator_augment", "model.optimizers.f", "model.mapper",
    "data.source", "callbacks.quality.metrics.x", "model.sampler", "model.perceptual",
    "model.discriminator.discriminators.x", "model.discriminator.discriminators.x.norm",
]  # fmt: skip

FORMS: dict[str, Callable[[Any], Any]] = {
    "alone": lambda target: {"_target_": target},
    "partial": lambda target: {"_target_": target, "_partial_": True, "x": 1},
    "in a list": lambda target: [1, {"_target_": target}],
    "as a positional argument": lambda target: {"_args_": [{"_target_": target}]},
    "as an argument of another": lambda target: {
        "_target_": "patchlight.parallel.Performance",
        "x": {"_target_": target},
    },
}


def test_there_are_enough_hostile_names() -> None:
    assert len(set(HOSTILE)) >= 120


@pytest.mark.untraced  # 21,525 tries of the same lines
@pytest.mark.parametrize("place", PLACES)
def test_a_hostile_name_is_refused(put: Put, no_import: None, place: str) -> None:
    def forbidden(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("something was imported or opened")

    section = place.partition(".")[0]
    config = {section: put(place, {})[section]}
    printable("\n")  # Python imports a codec for that
    with (
        mock.patch.object(importlib, "import_module", forbidden),
        mock.patch.object(builtins, "open", forbidden),
        mock.patch.object(builtins, "__import__", forbidden),
    ):
        tried = [
            (form, name, _refusal(put(place, make(name), config))) for form, make in FORMS.items() for name in HOSTILE
        ]
    assert len(tried) == len(FORMS) * len(HOSTILE)
    for form, name, said in tried:
        assert said is not None, f"{name!r} was let through {form}"
        assert said.startswith("x.ckpt "), said
        assert "\n" not in said
        assert (printable(f"_target_={name}") in said) or ("interpolation" in said and "${" in name), said


@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_name_is_refused_with_trust_too(put: Put, place: str) -> None:
    for value in NO_NAMES:
        with pytest.raises(DataError, match=r"x\.ckpt is damaged: .*_target_=.* is no value of this key$"):
            trusted_config(put(place, {"_target_": value}), "x.ckpt", trust=True)


def _refusal(config: dict[str, Any], trust: bool = False) -> str | None:
    try:
        trusted_config(config, "x.ckpt", trust=trust)
    except DataError as error:
        return str(error)
    return None


def test_a_known_name_is_taken_in_its_own_place_only(put: Put) -> None:
    names = {name for place in KNOWN.values() for name in place.targets}
    own = {
        "model": METHODS, "model.generator": GENERATORS, "model.discriminator": DISCRIMINATORS,
        "model.optimizer": OPTIMIZERS, "model.optimizer_d": OPTIMIZERS, "model.schedule": SCHEDULES,
        "model.penalties.r1": PENALTIES, "model.penalties.more": PENALTIES, "data": DATA, "data.augment": AUGMENTS,
        "data.augment.geometry[0]": TRANSFORMS, "data.render": RENDERED, "trainer": TRAINERS, "perf": PERFORMANCE,
        "data.source": SOURCES,
        "model.generator_terms.x": GENERATOR_TERMS, "model.discriminator_augment": DISCRIMINATOR_AUGMENTS,
        "model.adversarial": OBJECTIVES, "model.sampler": SAMPLERS, "model.optimizers.f": OPTIMIZERS,
        "model.discriminator.discriminators.x": DISCRIMINATORS, "callbacks.quality.metrics.x": METRICS,
        "callbacks.quality": CALLBACKS, "callbacks.more": CALLBACKS, "logger.wandb": LOGGERS, "logger.more": LOGGERS,
    }  # fmt: skip
    for place in PLACES:
        section = place.partition(".")[0]
        config = {section: put(place, {})[section]}
        taken = {name for name in names if _refusal(put(place, {"_target_": name}, config)) is None}
        assert taken == own.get(place, frozenset()), place
    nested = [{"_target_": "albumentations.OneOf", "transforms": [{"_target_": "albumentations.Affine", "p": 1.0}]}]
    assert _refusal(put("data.augment.colour_a", nested)) is None
    nested[0]["transforms"][0]["_target_"] = "albumentations.Lambda"  # type: ignore[index]
    assert "data.augment.colour_a[0].transforms[0]._target_=albumentations.Lambda" in str(
        _refusal(put("data.augment.colour_a", nested))
    )


def test_the_message_names_all_that_would_be_run(put: Put) -> None:
    config = put("model.discriminator", {"_target_": "my_module.Mine", "ndf": 4})
    config["callbacks"]["mine"] = {"_target_": "my_module.Watch"}
    assert _refusal(config) == (
        "x.ckpt names code that is not Patchlight's own, and nothing of it was loaded: "
        "model.discriminator._target_=my_module.Mine, callbacks.mine._target_=my_module.Watch. Give trust=true (in "
        "Python trust=True) to run it, if you trust whoever made the file"
    )
    assert _refusal(config, trust=True) is None
    for i in range(100):
        config["callbacks"][f"mine{i}"] = {"_target_": "y" * 1000}
    said = _refusal(config)
    assert said is not None
    assert " and 82 more. Give trust=true" in said
    assert len(said) < 6000


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model.generator._partial_", True, "model.generator._partial_=True"),
        ("model.generator._args_", [1], "model.generator._args_"),
        ("model.generator._args_", 1, "model.generator._args_=1 is no value of this key"),
        ("model.generator._convert_", "x", "model.generator._convert_='x' is no value of this key"),
        ("model._recursive_", 1, "model._recursive_=1 is no value of this key"),
        ("paths._partial_", True, "paths._partial_=True"),
        ("data.root", "${oc.env:SECRET}", "interpolation, which is never evaluated: data.root=${oc.env:SECRET}"),
        ("task", "a${now:%Y}", "interpolation, which is never evaluated: task=a${now:%Y}"),
        ("paths.x", "${patchlight.x}", "interpolation, which is never evaluated: paths.x"),
        ("model.generator.ngf", 10**9, "model.generator.ngf=1000000000, more than the 1024 that are taken"),
        ("model.generator.n_blocks", 10**6, "model.generator.n_blocks=1000000, more than the 256"),
        ("model.generator.ngf", float("inf"), "model.generator.ngf=inf, more than the 1024"),
        ("data.image_size", [64, 10**6], "data.image_size[1]=1000000, more than the 4096"),
        ("data.num_workers", 10**6, "data.num_workers=1000000, more than the 256"),
        ("callbacks.quality.kernel_subsets", 10**9, "kernel_subsets=1000000000, more than the 10000"),
        (
            "callbacks.quality.metrics",
            {"x": {"_target_": "torchmetrics.image.StructuralSimilarityIndexMeasure", "sigma": [1.5, 10**9]}},
            "callbacks.quality.metrics.x.sigma[1]=1000000000, more than the 100",
        ),
        (
            "callbacks.quality.metrics",
            {"x": {"_target_": "torchmetrics.image.FrechetInceptionDistance", "feature_extractor_weights_path": "x"}},
            "callbacks.quality.metrics.x._target_=torchmetrics.image.FrechetInceptionDistance",
        ),
        ("seed", 10**400, "has a number at seed that is too large"),
        ("model.init.gain", float("nan"), "model.init.gain is not a number"),
        ("task", "x" * 10**6, "has a text at task that is too long"),
        ("task", "a\0b", "has a text at task that is too long or holds a null character"),
        ("task", b"bytes", "holds a bytes at task: plain values are needed"),
        ("task", {1: 2}, "has a int as a name below task"),
        ("task", [0] * 10**5, "holds more than 20000 values"),
    ],
)
def test_what_else_is_refused(put: Put, key: str, value: Any, message: str) -> None:
    said = _refusal(put(key, value))
    assert said is not None
    assert message in said
    assert "\n" not in said


def test_what_holds_itself_or_is_deep_or_repeats_ends(put: Put) -> None:
    itself: list[Any] = []
    itself.append(itself)
    deep: Any = 0
    for _ in range(100_000):
        deep = [deep]
    again: Any = [0]
    for _ in range(12):
        again = [again] * 10
    for value, message in ((itself, "32 levels"), (deep, "32 levels"), (again, "more than 20000 values")):
        said = _refusal(put("data.augment", value))
        assert said is not None
        assert message in said
    while deep:  # level by level: to free it all at once would be as deep
        deep = deep[0]
    for value in (None, [], "text", 3):
        assert "in place of a configuration" in str(_refusal(value))  # type: ignore[arg-type]


TRAININGS = [
    ["model=cyclegan", "data=unpaired", "data.root=x"], ["data=synthetic", "+data/augment=colour", "callbacks=ema"],
    *(["data=paired", f"data/source={name}", "data.root=x"] for name in ("folders", "manifest", "table", "archive")),
    ["data=single", "data.source.a=x.png", "data.source.b=y.png"],
    ["data=synthetic_unpaired", "logger=tensorboard", "callbacks=early_stopping"],
    ["model/generator_term=[lpips,perceptual,ssim,ms_ssim,total_variation,feature_matching]"],
    *([f"model/discriminator_augment={name}"] for name in ("ada", "diffaugment")),
    ["model/penalty=[r1,r2,wgan_gp]", "model/discriminator=pixel", "model/optimizer_d=adamw", "logger=wandb"],
    *([f"model/schedule={name}"] for name in ("linear", "step", "cosine", "constant", "plateau")),
    *([f"model/optimizer={name}"] for name in ("adagrad", "adamax", "nadam", "radam", "rmsprop", "sgd")),
    *([f"experiment={name}"] for name in ("demo", "facades_pix2pix", "facades_cyclegan", "horse2zebra_cyclegan")),
]  # fmt: skip


@pytest.mark.parametrize("overrides", TRAININGS, ids=str)
def test_what_trainings_write_comes_back_as_it_was(overrides: list[str]) -> None:
    cfg = compose_config("train", [*overrides, "paths.run_dir=run"])
    config = OmegaConf.to_container(cfg, resolve=True)
    assert trusted_config(config, "x.ckpt", trust=False) == config


def test_what_is_still_to_be_given_is_none(put: Put) -> None:
    assert trusted_config(put("data.root", "???"), "x.ckpt", trust=False)["data"]["root"] is None


def test_each_known_name_is_a_class_or_function_of_the_package_that_it_names() -> None:
    """No name leads through a module to what that module has imported from elsewhere."""
    names = {name for place in KNOWN.values() for name in place.targets}
    assert len(names) > 120
    absent = []
    for name in sorted(names):
        module, _, last = name.rpartition(".")
        found = getattr(importlib.import_module(module), last, None)
        if found is None:
            absent.append(name)
            continue
        assert inspect.isclass(found) or inspect.isfunction(found), name
        assert found.__module__.partition(".")[0] == name.partition(".")[0], name
        assert found.__name__ == last, name
    # Other releases of PyTorch and albumentations lack some.
    assert set(absent) <= {"torch.optim.Muon", "torch.optim.Adafactor"}
