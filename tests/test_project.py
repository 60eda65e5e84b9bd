"""The project around the code: import, metadata, wheel, make targets, workflows."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest
import yaml

import patchlight
from patchlight.system.warnings import gc_paused

REPOSITORY = Path(__file__).resolve().parents[1]
TARGETS = [
    "help",
    "install",
    "demo",
    "test",
    "test-all",
    "lint",
    "types",
    "check",
    "bench",
    "notebooks",
    "docs",
    "clean",
]


HEAVY = {
    "torch", "torchvision", "lightning", "torchmetrics", "scipy", "matplotlib", "numpy", "cv2", "PIL", "pandas",
    "albumentations", "wandb", "optuna", "sqlalchemy", "joblib", "submitit", "rich",
}  # fmt: skip


def python(code: str, arguments: Iterable[str] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=True
    )


def test_importing_the_package_is_light_and_silent() -> None:
    code = """
import socket, sys, time
def refuse(*args, **kwargs):
    raise AssertionError("network")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
began = time.perf_counter()
import patchlight
spent = time.perf_counter() - began
heavy = {"torch", "torchvision", "lightning", "hydra", "albumentations", "cv2", "wandb", "numpy", "rich"}
print(f"{spent:.3f}", *sorted(heavy & set(sys.modules)))
"""
    answer = python(code)
    spent, *heavy = answer.stdout.split()
    assert heavy == []
    assert float(spent) < 0.3
    assert answer.stderr == ""


def test_the_download_command_starts_without_the_heavy_packages() -> None:
    code = (
        "import sys, patchlight.cli.download; print(sorted({'torch', 'lightning', 'hydra', 'rich'} & set(sys.modules)))"
    )
    assert python(code).stdout.strip() == "[]"


def test_a_training_imports_little_beside_lightning() -> None:
    """A process of its own, as a user's command is one. What Lightning itself imports cannot be helped."""
    code = """
import gc, sys
from patchlight.system.warnings import import_lightning
import_lightning()
assert gc.isenabled() and gc.get_freeze_count() > 100_000
import torchvision
theirs = set(sys.modules)
import patchlight.runs.run, patchlight.cli.train
ours = set(sys.modules) - theirs
packages = {name.partition(".")[0] for name in ours} - {name.partition(".")[0] for name in theirs}
print(*sorted(packages - set(sys.stdlib_module_names) - {"_distutils_hack"}))
parts = ("torchmetrics.image", "matplotlib", "scipy", "torch._inductor")
print(*sorted(name for name in ours if name.startswith(parts)))
"""
    packages, parts = python(code).stdout.splitlines()
    # No wandb, albumentations, pandas, optuna, joblib, submitit, gradio, onnx or tensorboard.
    assert set(packages.split()) <= {
        "annotated_types", "antlr4", "attr", "cv2", "hydra", "omegaconf", "patchlight", "pydantic", "pydantic_core",
        "typing_inspection", "yaml",
    }  # fmt: skip
    assert parts == ""


def test_a_mistake_is_refused_without_pytorch() -> None:
    """One process for all of them."""
    mistakes = {
        "model.gan_mod=lsgan": "model.gan_mod is no key of the configuration: did you mean gan_mode?",
        "trainer.max_steps=ten": "trainer.max_steps=ten should be a valid integer",
        "model.gan_mode=lsgn": "model.gan_mode=lsgn should be 'lsgan', ",
        "model=pix3pix": "model=pix3pix is no choice: did you mean pix2pix?",
    }
    code = """
import sys
from patchlight.cli.train import main
for mistake in sys.argv[1:]:
    sys.argv[1:] = [mistake]
    try:
        main()
    except SystemExit as end:
        assert end.code == 1
print(*sorted({name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)))
"""
    answer = python(code, arguments=mistakes)
    assert set(answer.stdout.split()) & HEAVY == set()
    for line, start in zip(answer.stderr.splitlines(), mistakes.values(), strict=True):
        assert line.startswith(f"patchlight-train: {start}")


def test_the_collector_rests_while_pytorch_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch  # noqa: F401  # as in a process that has it, whichever test ran before

    assert gc.isenabled()
    with gc_paused():
        assert gc.isenabled()
    monkeypatch.delitem(sys.modules, "torch")
    frozen = gc.get_freeze_count()
    try:
        with gc_paused():
            assert not gc.isenabled()
            with gc_paused():
                pass
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() > frozen
    finally:
        gc.unfreeze()


def test_albumentations_is_kept_from_asking_for_updates() -> None:
    assert python("import os, patchlight; print(os.environ['NO_ALBUMENTATIONS_UPDATE'])").stdout.strip() == "1"


def test_the_version_is_the_metadata_version() -> None:
    declared = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert patchlight.__version__ == declared == version("patchlight")


def test_every_console_script_leads_to_a_function() -> None:
    scripts = [entry for entry in entry_points(group="console_scripts") if entry.module.startswith("patchlight")]
    declared = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert {entry.name: entry.value for entry in scripts} == declared
    for entry in scripts:
        assert entry.name.startswith("patchlight-")
        assert callable(getattr(importlib.import_module(entry.module), entry.attr))


def test_make_knows_the_targets_and_help_lists_them() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    listed = subprocess.run(["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for target in TARGETS:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
        assert re.search(rf"^  make {target} +\w", listed, flags=re.MULTILINE), target


def test_the_tested_versions_fit_the_ranges() -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    tested = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    tested = {canonicalize_name(name): number for name, number in tested.items()}
    for text in project["dependencies"] + project["optional-dependencies"]["dev"]:
        requirement = Requirement(text)
        if requirement.name == "patchlight":
            continue  # its own extras
        number = tested[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(number, prereleases=True), f"{text} does not allow {number}"


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.name
)
def test_workflows_are_yaml_with_few_rights(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    # Half a release is none.
    assert workflow["concurrency"]["cancel-in-progress"] is (path.name != "release.yml")
    for job in workflow["jobs"].values():
        assert 0 < job["timeout-minutes"] <= 60
        assert [step for step in job["steps"] if step.get("uses", "@").partition("@")[2] == "main"] == []


def test_a_release_publishes_only_what_was_tested_from_a_tag_and_without_a_token() -> None:
    jobs = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8"))["jobs"]
    order = [jobs[name]["needs"] for name in ("wheel", "publish", "notes")]
    assert order == ["build", "wheel", "publish"]
    assert {name: job["permissions"] for name, job in jobs.items() if "permissions" in job} == {
        "publish": {"id-token": "write"}, "notes": {"contents": "write"},
    }  # fmt: skip
    assert [jobs[name]["if"] for name in ("publish", "notes")] == ["github.ref_type == 'tag'"] * 2
    assert "secrets." not in (REPOSITORY / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    # The wheel is tried without the repository around it.
    assert not [step for step in jobs["wheel"]["steps"] if step.get("uses", "").startswith("actions/checkout")]


@pytest.mark.parametrize(
    ("tag", "changelog", "expected"),
    [
        ("v1.2.0", "## Unreleased\n\n## 1.2.0 - 2026-12-01\n\n### Added\n- a\n\n## 1.1.0\n- b\n", "### Added\n- a"),
        ("v1.2.0", "## [1.2.0]\n- a\n", "- a"),
        ("v1.2.1", "## 1.2.1\n- a\n", "the tag is v1.2.1, but pyproject.toml has version 1.2.0: it should be v1.2.0"),
        ("v1.2.0", "## 1.2.01\n- a\n", 'CHANGELOG.md has no section "## 1.2.0": rename "## Unreleased"'),
        ("v1.2.0", "## 1.2.0\n\n## 1.1.0\n- a\n", 'the section "## 1.2.0" of CHANGELOG.md is empty'),
    ],
)  # fmt: skip
def test_release_notes_are_the_section_of_the_changelog(tag: str, changelog: str, expected: str) -> None:
    spec = importlib.util.spec_from_file_location("release_notes", REPOSITORY / ".github" / "release_notes.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        found = module.release_notes(tag, changelog, "1.2.0")
    except SystemExit as end:
        found = str(end)
    assert found == expected


def test_the_citation_is_of_this_version() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])


def test_containers_take_what_the_repository_has_and_the_tested_versions() -> None:
    docker = (REPOSITORY / "containers" / "Dockerfile").read_text(encoding="utf-8")
    apptainer = (REPOSITORY / "containers" / "patchlight.def").read_text(encoding="utf-8")
    copied = re.findall(r"^COPY (.+) \S+$", docker, re.MULTILINE)
    files = {name for line in copied for name in line.split()}
    assert files == set(re.findall(r"^    (\S+) /opt/patchlight/\S+$", apptainer, re.MULTILINE))
    assert [name for name in files if not (REPOSITORY / name).exists()] == []
    base = re.findall(r"python:3\.11-slim-\w+", docker + apptainer)
    assert len(base) == 2
    assert len(set(base)) == 1
    for text in (docker, apptainer):
        (extras,) = re.findall(r'-c constraints\.txt "\.\[(.*)\]"', text)
        declared = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        assert set(extras.split(",")) <= set(declared["optional-dependencies"])


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda p: p.name
)
def test_issue_forms_ask_for_what_is_needed(path: Path) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.name == "config.yml":
        assert form == {"blank_issues_enabled": True}
        return
    assert {"name", "description", "body"} <= form.keys()
    parts = [part for part in form["body"] if part["type"] != "markdown"]
    assert all(part["attributes"]["label"] for part in parts)
    assert len({part["id"] for part in parts}) == len(parts)
    assert any(part.get("validations", {}).get("required") for part in parts)


def test_hooks_are_local() -> None:
    hooks = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repository["repo"] for repository in hooks["repos"]] == ["local"]
    assert {hook["language"] for hook in hooks["repos"][0]["hooks"]} == {"system"}


def test_the_wheel_holds_code_and_configs(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(REPOSITORY)]
    subprocess.run(build, capture_output=True, text=True, timeout=120, check=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    configs = {path.relative_to(REPOSITORY) for path in (REPOSITORY / "configs").rglob("*.yaml")}
    assert {f"patchlight/{path.as_posix()}" for path in configs if path.parts[1] != "local"} <= names
    code = {path.relative_to(REPOSITORY / "src").as_posix() for path in (REPOSITORY / "src").rglob("*.py")}
    assert code <= names
    assert {"patchlight/py.typed", f"patchlight-{patchlight.__version__}.dist-info/licenses/LICENSE"} <= names
    assert not [name for name in names if not name.startswith(("patchlight/", "patchlight-"))]
