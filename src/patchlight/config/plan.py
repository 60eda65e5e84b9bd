"""What a sweep is made of: its keys and values, and the names of its folders. Imports nothing heavy."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hydra.core.override_parser.types import IntervalSweep, Override

from patchlight.system.job_record import JobRecord

MAX_CHOICES_CHECKED = 64
"""How many values of one key are checked before a sweep starts."""

LONGEST_NAME = 120

NOT_PART_OF_A_JOB = ("hydra.", "hydra/", "launcher=", "sweep=", "resume=")
"""What may be changed when a sweep is started again, and it is still the same sweep."""


@dataclass(frozen=True)
class Plan:
    """The overrides of a sweep: those of its sweeper, and those of the command line, which go before them."""

    overrides: tuple[Override, ...]

    @classmethod
    def of(cls, params: Iterable[Override], command_line: Iterable[Override]) -> Plan:
        """Of two overrides of one key the last holds, as in Hydra's sweepers."""
        return cls(tuple({str(o.get_key_element()): o for o in (*params, *command_line)}.values()))

    @property
    def keys(self) -> list[str]:
        """The keys that differ from job to job."""
        return [str(o.get_key_element()) for o in self.overrides if _is_swept(o)]

    def variants(self) -> Iterator[tuple[str, list[str]]]:
        """The first job, then each further value of every key with the first of the others.

        Each with the `key=value` that makes the difference, of the first job the empty string.
        """
        choices = [_choices(override) for override in self.overrides]
        first = [values[0] for values in choices]
        yield "", first
        for i, values in enumerate(choices):
            for value in values[1:MAX_CHOICES_CHECKED]:
                yield value, [*first[:i], value, *first[i + 1 :]]

    def folder(self, name: str, searches: bool) -> str:
        """The name of the sweep's folder: that of the sweep, and a hash of what all of its jobs have in common.

        The values of a grid are left out, so that one with more of them goes on in the same folder; those that a
        sweeper `searches` in belong to its study and stay.
        """
        words = (o.input_line or "" for o in self.overrides if searches or not _is_swept(o))
        return f"{name}-{_digest(*sorted(word for word in words if not word.startswith(NOT_PART_OF_A_JOB)))}"


def sweep_folder() -> str:
    """The name of this sweep's folder: its own, or the command's id."""
    record = JobRecord.current()
    return record.sweep or record.run_id


def job_folder(number: object, overrides: Sequence[str]) -> str:
    """The name of a job's folder: in a sweep with a name of its own that of its values, otherwise its number."""
    record = JobRecord.current()
    name = job_name(overrides, record.swept) if record.sweep else ""
    return name or str(number)


def job_name(overrides: Sequence[str], swept: Sequence[str]) -> str:
    """What sets a job apart, as one part of a path: `discriminator=patch70,seed=0`."""
    values = dict(override.partition("=")[::2] for override in overrides)
    keys = {key: re.split(r"[./@]", key.lstrip("+")) for key in swept if key in values}
    text = ",".join(sorted(f"{_shortest(key, keys.values())}={values[full]}" for full, key in keys.items()))
    safe = re.sub(r"[^\w.+=,-]", "_", text, flags=re.ASCII)
    return safe if safe == text and len(text) <= LONGEST_NAME else f"{safe[: LONGEST_NAME - 9]}-{_digest(text)}"


def _shortest(key: Sequence[str], others: Iterable[Sequence[str]]) -> str:
    """The last parts of a key, as many as tell it from the others."""
    for n in range(1, len(key)):
        if sum(other[-n:] == key[-n:] for other in others) == 1:
            return ".".join(key[-n:])
    return ".".join(key)


def _is_swept(override: Override) -> bool:
    return override.is_sweep_override() and not override.is_hydra_override()


def _choices(override: Override) -> list[str]:
    """The values of an override, of an interval its two ends."""
    if not _is_swept(override):
        return [override.input_line or ""]
    key, value = override.get_key_element(), override.value()
    if isinstance(value, IntervalSweep):
        return [f"{key}={value.start}", f"{key}={value.end}"]
    return [f"{key}={text}" for text in override.sweep_string_iterator()]


def _digest(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:8]
