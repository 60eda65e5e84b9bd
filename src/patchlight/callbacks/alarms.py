"""Plain sentences for figures that have left their normal range."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rule:
    """The normal range of a figure, and what to say where its mean over some observations is outside.

    `figure` is a pattern for the names it holds for. The sentences have a place `{value}`. `window` is over how many
    observations the mean is, where that is not the number of all figures. What is observed before the batch `begin`
    does not count.
    """

    figure: str
    low: float = float("-inf")
    high: float = float("inf")
    too_low: str = ""
    too_high: str = ""
    window: int | None = None
    begin: int = 0


RULES = (
    Rule(
        r"d_acc(_[ab])?",
        low=0.52,
        high=0.995,
        too_low="The discriminator does no better than chance: {value:.1%} of all patches right. It may be too small, "
        "or its learning rate (model.optimizer_d.lr) too low.",
        too_high="The discriminator tells nearly every patch apart, {value:.1%} right, so its answers teach the "
        "generator little. Fewer model.discriminator.n_layers or ndf, a lower learning rate for it, or "
        "model/penalty=r1 help.",
    ),
    Rule(
        r"grad_ratio",
        low=0.05,
        high=2000.0,
        too_low="The generators' gradient is {value:.2g} times the discriminators': the generators hardly move. Look "
        "at model.lambda_l1 or lambda_a and lambda_b, and at the discriminator's penalty.",
        too_high="The generators' gradient is {value:,.0f} times the discriminators': the discriminators hardly learn. "
        "They may have won, or model.discriminator_start is far.",
    ),
    Rule(
        r"saturation(_[ab])?",
        high=0.05,
        too_high="{value:.0%} more of the generated values than of the real ones are at the ends of their range, where "
        "tanh passes no gradient. A lower learning rate (model.optimizer.lr) or model.clip_g helps.",
    ),
    Rule(
        r"variety(_[ab])?",
        low=0.1,
        too_low="Generated images differ from one another only {value:.0%} as much as real ones: the generator may "
        "have collapsed to one picture. Look at samples/; a larger weight of the L1 or cycle term helps.",
    ),
    Rule(
        r"d_overfit(_\w+)?",
        high=0.5,
        too_high="The discriminator knows its training images by heart: the logits of held-out real images are "
        "{value:.0%} of the way from those of training images to those of generated ones. "
        "model/discriminator_augment=diffaugment or ada, or more images, help.",
        window=3,
        # Before, nothing can be known by heart: logits hardly differ, and their ratio is one of chance. A set of a few
        # images has three validations within a minute.
        begin=500,
    ),
    Rule(
        r"pool_age_[ab]",
        high=8.0,
        too_high="The image pool's images are {value:.1f} times its size old, where 2 is normal: the discriminator "
        "learns from the past only.",
    ),
)


class Alarms:
    """Watches the means of figures over the last `window` observations.

    A figure that leaves its range gives one alarm, and another only after it has been back.
    """

    def __init__(self, window: int, rules: Sequence[Rule] = RULES) -> None:
        self.window = window
        self.rules = rules
        self.raised: list[dict[str, Any]] = []
        self._values: dict[str, deque[float]] = {}
        self._outside: set[str] = set()

    def observe(self, figures: Mapping[str, float], step: int) -> list[dict[str, Any]]:
        """Take in figures; the alarms that they raise: `step`, `figure`, `value`, `message`."""
        new = []
        for name, value in figures.items():
            rule = self._rule_of(name)
            if rule is None or step < rule.begin:
                continue
            values = self._values.setdefault(name, deque(maxlen=rule.window or self.window))
            values.append(value)
            if len(values) < (rule.window or self.window):
                continue
            mean = sum(values) / len(values)
            sentence = rule.too_low if mean < rule.low else rule.too_high if mean > rule.high else None
            if sentence is None:
                self._outside.discard(name)
            elif name not in self._outside:
                self._outside.add(name)
                new.append({"step": step, "figure": name, "value": mean, "message": sentence.format(value=mean)})
        self.raised += new
        return new

    def state_dict(self) -> dict[str, Any]:
        """Everything, in plain types."""
        return {
            "values": {name: list(values) for name, values in self._values.items()},
            "outside": sorted(self._outside),
            "raised": [dict(alarm) for alarm in self.raised],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._values = {}
        for name, values in state["values"].items():
            rule = self._rule_of(name)
            window = rule.window if rule is not None and rule.window is not None else self.window
            self._values[name] = deque(values, maxlen=window)
        self._outside = set(state["outside"])
        self.raised = [dict(alarm) for alarm in state["raised"]]

    def _rule_of(self, name: str) -> Rule | None:
        return next((rule for rule in self.rules if re.fullmatch(rule.figure, name)), None)
