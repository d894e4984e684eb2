"""Adam for models with large tables: dense parameters and row-wise tables, each with the optimiser that suits it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class TablesAdam(torch.optim.Adam):
    """Adam (Kingma & Ba, 2015, arXiv 1412.6980), with lazy Adam for the tables whose gradients are sparse.

    A step updates the moments and weights of the rows that were looked up and no other (torch's ``SparseAdam``), so
    its cost does not grow with the catalogue.

    Args:
        model: its modules with ``sparse=True`` are the tables.
        lr: learning rate of both.
    """

    def __init__(self, model: nn.Module, lr: float) -> None:
        tables = tables_of(model)
        known = {id(table) for table in tables}
        super().__init__([weight for weight in model.parameters() if id(weight) not in known], lr=lr)
        self.tables = torch.optim.SparseAdam(tables, lr=lr)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters."""
        super().zero_grad(set_to_none)
        self.tables.zero_grad(set_to_none)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step on all parameters."""
        loss = super().step(closure)
        self.tables.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """State of both optimisers."""
        return {"dense": super().state_dict(), "tables": self.tables.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        super().load_state_dict(state_dict["dense"])
        self.tables.load_state_dict(state_dict["tables"])


def tables_of(model: nn.Module) -> list[torch.Tensor]:
    """Weights of the embeddings whose gradients are sparse."""
    return [module.weight for module in model.modules() if isinstance(module, nn.Embedding) and module.sparse]
