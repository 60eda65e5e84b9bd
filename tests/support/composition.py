"""Hydra's compositions, made once for the same choice of files, each of which is read once.

Composing takes a seventh of a second, a command composes three times, and a sweep more often; nearly all of it is the
reading and merging of the package's YAML files, which are the same for the whole session. So what Hydra has merged for
a choice of files is copied when the same files are chosen again, and the values of the command line are applied to the
copy, as Hydra applies them to what it has merged. For another choice a file that was read before is copied, too. Where
files of another folder are looked for, nothing is remembered.
"""

from __future__ import annotations

import pickle
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pytest
from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.defaults_list import DefaultsList, Overrides
from hydra.core.default_element import ResultDefault
from hydra.core.override_parser.types import Override
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


find_files, merge = config_loader_impl.create_defaults_list, ConfigLoaderImpl._compose_config_from_defaults_list
"""Hydra's own: which files make a configuration, and what they make."""

read = ConfigRepository.load_config
"""Hydra's own: what is in a file."""


def remember_compositions(patch: pytest.MonkeyPatch) -> None:
    """Have Hydra look up what it has found out for the same files before."""
    found: dict[Hashable, DefaultsList] = {}
    merged: dict[Hashable, bytes] = {}
    files: dict[Hashable, bytes] = {}

    def load_config(self: ConfigRepository, config_path: str) -> ConfigResult | None:
        if not _are_the_packages(self):
            return read(self, config_path)
        key = (config_path, tuple(source.full_path() for source in self.get_sources()))
        if key not in files:
            files[key] = pickle.dumps(read(self, config_path))
        copy: ConfigResult | None = pickle.loads(files[key])
        return copy

    def create_defaults_list(
        repo: Any, config_name: str | None, overrides_list: list[Override], prepend_hydra: bool, skip_missing: bool
    ) -> DefaultsList:
        arguments = (repo, config_name, overrides_list, prepend_hydra, skip_missing)
        if not _are_the_packages(repo):
            return find_files(*arguments)
        values = Overrides(repo=repo, overrides_list=overrides_list).config_overrides
        groups = tuple(o.input_line for o in overrides_list if not any(o is value for value in values))
        key = (config_name, groups, prepend_hydra, skip_missing)
        if key not in found:
            found[key] = find_files(*arguments)
        known = found[key]
        return DefaultsList(known.defaults, known.defaults_tree, values, known.overrides)

    def compose(self: ConfigLoaderImpl, defaults: list[ResultDefault], repo: Any) -> DictConfig:
        if not _are_the_packages(repo):
            return merge(self, defaults, repo)
        key = tuple((d.config_path, d.parent, d.package, d.is_self, d.primary) for d in defaults)
        if key not in merged:
            merged[key] = pickle.dumps(merge(self, defaults, repo))
        copy: DictConfig = pickle.loads(merged[key])  # in a fifth of the time of copy.deepcopy
        return copy

    patch.setattr(ConfigRepository, "load_config", load_config)
    patch.setattr(config_loader_impl, "create_defaults_list", create_defaults_list)
    patch.setattr(ConfigLoaderImpl, "_compose_config_from_defaults_list", compose)


def forget_compositions(patch: pytest.MonkeyPatch) -> None:
    """Have Hydra find everything out anew."""
    patch.setattr(ConfigRepository, "load_config", read)
    patch.setattr(config_loader_impl, "create_defaults_list", find_files)
    patch.setattr(ConfigLoaderImpl, "_compose_config_from_defaults_list", merge)


def _are_the_packages(repo: Any) -> bool:
    """Whether all files are looked for in the folder of this package, or in Hydra and its plugins."""
    return all(source.scheme() != "file" or Path(source.path) == CONFIGS for source in repo.get_sources())
