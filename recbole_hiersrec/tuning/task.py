"""What one study searches: a job of a suite, whose settings are the first trial, and the space around it.

Imports neither torch nor Optuna.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from recbole_hiersrec.benchmark.checks import check_values
from recbole_hiersrec.benchmark.suite import Job, job_key
from recbole_hiersrec.errors import InputError, nearest
from recbole_hiersrec.reading import short
from recbole_hiersrec.tuning.space import Parameter, Space, recbole_defaults

LATENCY, SCANNED = "latency", "scanned"
SECOND = (LATENCY, SCANNED)
"""Second objectives, the smaller the better: median ms of one request; vectors looked at, as a share of all items."""


@dataclass(frozen=True)
class Task:
    """One study's subject.

    Attributes:
        study: its name.
        job: with the settings that the search starts from; they hold what is not searched, too.
        space: what is searched.
        objectives: the validation metric, such as NDCG@10, and perhaps one of :data:`SECOND`.
    """

    study: str
    job: Job
    space: Space
    objectives: tuple[str, ...]

    @property
    def second(self) -> str:
        """The second objective; empty where there is none."""
        return self.objectives[1] if len(self.objectives) > 1 else ""

    def fixed(self) -> dict[str, Any]:
        """Settings that are not searched."""
        return {key: value for key, value in self.job.settings.items() if key not in self.space.parameters}

    def start(self) -> dict[str, Any]:
        """The first trial: the job's own settings, or the model's defaults where it does not say them.

        Raises:
            InputError: a setting has no default, or one outside its range.
        """
        known = recbole_defaults(self.job.model) if ":" not in self.job.model else {}
        own = check_values(self.job.model, self.job.settings, f"settings of {self.job.name}").model_dump()
        known |= {key: value for key, value in own.items() if key in self.space.parameters}
        known |= {key: value for key, value in self.job.settings.items() if value is not None}

        def default(name: str, parameter: Parameter) -> Any:
            where = f"{self.space.where}: {name}"
            if name not in known:
                raise InputError(f"{where}: {self.job.model} has no default for it; say one in the settings")
            if not parameter.contains(known[name]):
                allowed = parameter.model_dump(mode="json", exclude_defaults=True, exclude={"when"})
                raise InputError(
                    f"{where}: {self.job.name} starts from {short(known[name])}, allowed: {allowed}; widen the range "
                    "(--space) or fix the setting (--settings)"
                )
            return known[name]

        return self.space.values(default, self.job.settings)

    def trial_job(self, values: Mapping[str, Any]) -> Job:
        """The job of a trial; its key tells trials apart.

        Raises:
            InputError: the values do not go together.
        """
        settings = self.job.settings | dict(values)
        check_values(self.job.model, settings, "settings")
        job = replace(self.job, settings=settings)
        return replace(job, key=job_key(job.to_dict()))

    def identity(self) -> dict[str, Any]:
        """What must be the same for two calls to work on one study; plain JSON values."""
        job = self.job
        found = {
            "model": job.model,
            "line": job.name,
            "dataset": job.dataset,
            "data": job.data_hash,
            "protocol": job.protocol,
            "limits": job.limits,
            "objectives": list(self.objectives),
            "space": self.space.described(),
            "settings": self.fixed(),
            "source": job.source,
            "seed": job.seed,
        }
        extra: dict[str, dict[str, Any]] = {
            LATENCY: {"speed": job.speed},
            SCANNED: {"candidates": job.candidates},
        }
        return found | extra.get(self.second, {})


def one_of(name: str, allowed: Sequence[str], where: str) -> str:
    """Raise :class:`InputError`, naming the nearest, unless ``name`` is allowed."""
    if name not in allowed:
        raise InputError(
            f"{where}: received '{name}'{nearest(name, allowed)} (allowed: {', '.join(allowed)})"
        )
    return name


def slug(name: str) -> str:
    """A name that files may have."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-")
