"""Exponential moving average of the weights: steadier and, on small data, better than the last step's weights.

Axes: R rows of a table, D its width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from recbole_hiersrec.optim import tables_of


class WeightAverage:
    """Average e <- b e + (1 - b) w after every step, with b = min(decay, (1 + t) / (10 + t)) after t steps.

    An average of the iterates generalises better than the last one (Polyak & Juditsky, 1992, Acceleration of
    stochastic approximation by averaging). The warm-up forgets the random start (as in TensorFlow's
    ExponentialMovingAverage). In tables with sparse gradients a step visits the rows it changed and no others: what
    a row missed in between is a power of the decay, made up for when it is next visited or read. The result is that
    of visiting all rows.

    Args:
        model: whose parameters are averaged.
        decay: in (0, 1); about 1 / (1 - decay) steps count.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        tables = {id(table) for table in tables_of(model)}
        parameters = list(model.parameters())
        self._dense = [weight.data for weight in parameters if id(weight) not in tables]
        self._averages = [weight.clone() for weight in self._dense]
        self._tables = [_Table(weight) for weight in parameters if id(weight) in tables]
        self._decay, self._steps, self._log = decay, 0, 0.0

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step; the step's gradients must still be there."""
        self._steps += 1
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        torch._foreach_lerp_(self._averages, self._dense, 1 - decay)
        for table in self._tables:
            table.update(self._log, decay)
        self._log += math.log(decay)

    def state(self) -> dict[str, Any]:
        """All that :meth:`load` needs to go on from here; while the model has its own weights."""
        tables = [[table.average, table.held, table.seen] for table in self._tables]
        return {"steps": self._steps, "log": self._log, "averages": self._averages, "tables": tables}

    @torch.no_grad()
    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state` of the same model."""
        self._steps, self._log = state["steps"], state["log"]
        pairs = [*zip(self._averages, state["averages"], strict=True)]
        for table, kept in zip(self._tables, state["tables"], strict=True):
            pairs += zip((table.average, table.held, table.seen), kept, strict=True)
        for own, loaded in pairs:
            own.copy_(loaded)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the model have the averages; afterwards it has its own weights again."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def keep(self) -> None:
        """Leave the averages in the model, for good."""
        self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for table in self._tables:
            table.catch_up(self._log)
        pairs = [*zip(self._dense, self._averages, strict=True)]
        pairs += [(table.weight.data, table.average) for table in self._tables]
        for weight, average in pairs:
            held = weight.clone()
            weight.copy_(average)
            average.copy_(held)


class _Table:
    """Average of a table, row by row.

    Args:
        weight: [R, D], with sparse gradients.
    """

    def __init__(self, weight: nn.Parameter) -> None:
        self.weight = weight
        self.average = weight.detach().clone()
        self.held = weight.detach().clone()  # weights of each row since its last visit
        self.seen = torch.zeros(
            len(weight), 1, dtype=torch.float64, device=weight.device
        )  # log decay by then

    def update(self, log: float, decay: float) -> None:
        """Take in the rows that the last step changed; ``log`` is the sum of log decays before it."""
        if self.weight.grad is None:
            return
        rows = self.weight.grad.coalesce().indices()[0]
        average = self._caught_up(rows, log)
        new = self.weight.data[rows]
        self.average[rows] = average.lerp_(new, 1 - decay)
        self.held[rows] = new
        self.seen[rows] = log + math.log(decay)

    def catch_up(self, log: float) -> None:
        """Bring every row to the present."""
        self.average.copy_(self._caught_up(slice(None), log))
        self.seen.fill_(log)

    def _caught_up(self, rows: Tensor | slice, log: float) -> Tensor:
        kept = (log - self.seen[rows]).exp().to(self.average.dtype)
        held = self.held[rows]
        return held + (self.average[rows] - held) * kept
