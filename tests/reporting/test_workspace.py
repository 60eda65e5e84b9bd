"""`patchlight-workspace`: what it would send to W&B, against a recorded form."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from commands import Typed

RECORDED = Path(__file__).with_name("workspace.json")
IDS = frozenset({"__id__", "id"})


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, Any]]:
    """What would have gone to the server, which says that it took it."""
    interface = pytest.importorskip("wandb_workspaces.workspaces.interface")
    requests: list[Mapping[str, Any]] = []

    def execute(api: object, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        requests.append(variables)
        return {"upsertView": {"view": {"id": "1", "name": "nw-abc-v"}}}

    class Account:
        default_entity = "somebody"

    monkeypatch.setattr("wandb.Api", Account)
    monkeypatch.setattr(interface.internal, "execute_graphql", execute)
    monkeypatch.setattr(interface, "get_app_url", lambda api: "https://wandb.example")
    monkeypatch.setattr("wandb.termlog", lambda *args, **kwargs: None)
    return requests


def without_ids(node: Any) -> Any:
    """The same without the random names of panels."""
    if isinstance(node, dict):
        return {key: without_ids(value) for key, value in node.items() if key not in IDS}
    return [without_ids(item) for item in node] if isinstance(node, list) else node


def test_what_it_sends(sweep: Path, typed: Typed, sent: list[Mapping[str, Any]]) -> None:
    status, said, complaints = typed("workspace", f"runs={sweep}", "project=facades", "name=Patch sizes")
    assert (status, complaints) == (0, "")
    assert said == "https://wandb.example/somebody/facades?nw=abc\n"
    (request,) = sent
    assert (request["entityName"], request["projectName"]) == ("somebody", "facades")
    assert (request["displayName"], request["type"]) == ("Patch sizes", "project-view")
    spec = without_ids(json.loads(request["spec"]))
    assert spec == json.loads(RECORDED.read_text(encoding="utf-8"))


def test_its_sections_hold_what_the_runs_log(sweep: Path, typed: Typed, sent: list[Mapping[str, Any]]) -> None:
    assert typed("workspace", f"runs={sweep}", "metric=val/l1", "entity=team")[0] == 0
    assert sent[0]["entityName"] == "team"
    sections = json.loads(sent[0]["spec"])["section"]["panelBankConfig"]["sections"]
    panels = {section["name"]: [panel["config"] for panel in section["panels"]] for section in sections}
    assert list(panels) == ["Comparison", "Quality", "Samples", "Patch maps", "Losses", "Health"]
    coordinates, importance, _ = panels["Comparison"]
    # What differs in the sweep, as the logger writes nested configurations; the receptive field follows from them.
    keys = ["config:model.value.discriminator._target_", "config:model.value.discriminator.n_layers"]
    assert [column["accessor"] for column in coordinates["columns"]] == [*keys, "summary:val/l1"]
    assert importance["targetKey"] == "val/l1"
    drawn = {name: [panel["metrics"] for panel in panels[name]] for name in ("Quality", "Losses", "Health")}
    assert drawn == {
        "Quality": [["val/l1"]], "Losses": [["train/d_real"], ["train/g_l1"]], "Health": [["health/d_acc_real"]],
    }  # fmt: skip
    media = [panel["mediaKeys"] for name in ("Samples", "Patch maps") for panel in panels[name]]
    assert media == [["samples"], ["patch_maps/discriminator"]]
    # Three seeds of each row are drawn as their mean.
    grouping = json.loads(sent[0]["spec"])["section"]["runSets"][0]["grouping"]
    assert [key["name"] for key in grouping] == [key.removeprefix("config:") for key in keys]


def test_one_message_for_what_is_wrong(
    make_run: Callable[..., Path], typed: Typed, monkeypatch: pytest.MonkeyPatch, sent: list[Mapping[str, Any]]
) -> None:
    root = make_run("a", figures={"l1": 0.3}).parent
    assert (
        "metric=val/psnr is no figure of these runs: there are val/l1"
        in typed("workspace", f"runs={root}", "metric=val/psnr")[2]
    )

    def no_account() -> None:
        raise RuntimeError("api_key not configured (no-tty)")

    monkeypatch.setattr("wandb.Api", no_account)
    status, said, complaints = typed("workspace", f"runs={root}", "project=p")
    assert (status, said) == (1, "")
    assert complaints == (
        "patchlight-workspace: W&B did not take the workspace of project=p (api_key not configured (no-tty))\n"
    )
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert (
        "a workspace needs wandb-workspaces: pip install 'patchlight[workspace]'"
        in typed("workspace", f"runs={root}")[2]
    )
    assert sent == []
