"""A device that is none: tensors say that they are on it, and are computed by the processor.

What a GPU refuses is refused: an operation on tensors of both devices, and numpy's view of a tensor that is not in the
processor's memory. So code that assumes a processor fails on machines without a GPU, too. Importing this module makes
the device known to torch, in this process, for good.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)


class _Module(_DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


_setup_privateuseone_for_python_backend("elsewhere", backend_module=_Module())
DEVICE = torch.device("elsewhere:0")

_BETWEEN_DEVICES = {"_to_copy", "copy_"}
_WITH_INDICES = {"index", "index_put", "index_put_", "_index_put_impl_"}
"""Indices, the second operand, may be in the processor's memory: torch moves them."""


class Elsewhere(torch.Tensor):
    """A tensor on the device; ``inner`` holds its numbers."""

    inner: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Elsewhere:
        strided = inner.layout == torch.strided
        form = {"strides": inner.stride(), "storage_offset": inner.storage_offset()} if strided else {}
        made = torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, dtype=inner.dtype, device=DEVICE, layout=inner.layout, **form
        )
        made.inner = inner
        return made

    def tolist(self) -> Any:
        """Numbers may be read one by one; torch itself does not read those of a subclass."""
        return self.inner.tolist()

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Elsewhere({self.inner})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {})


class Computing(TorchDispatchMode):
    """Within it tensors can be made on the device, too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {})


def _compute(func: Any, args: Any, kwargs: Any) -> Any:
    """Refuse what a GPU refuses; otherwise compute with the numbers, and say where the result is."""
    name = func.overloadpacket.__name__
    leaves, _ = tree_flatten((args, kwargs))
    there = [leaf for leaf in leaves if isinstance(leaf, Elsewhere)]
    operands = (args[0], *args[2:]) if name in _WITH_INDICES else (args, kwargs)
    here = [
        leaf
        for leaf in tree_flatten(operands)[0]
        if isinstance(leaf, torch.Tensor) and not isinstance(leaf, Elsewhere)
    ]
    if there and name not in _BETWEEN_DEVICES and any(tensor.dim() for tensor in here):
        raise RuntimeError(f"{func}: received tensors on {DEVICE} and on {here[0].device}")
    found = func(*tree_map(_here, args), **tree_map(_here, kwargs))
    if kwargs.get("device") is not None:
        result_there = torch.device(kwargs["device"]).type == DEVICE.type
    else:
        result_there = isinstance(args[0], Elsewhere) if name == "copy_" else bool(there)
    if not result_there:
        return found
    known = {
        id(leaf.inner): leaf for leaf in there
    }  # what an operation changes in place stays the same tensor
    return tree_map(lambda value: known[id(value)] if id(value) in known else _there(value), found)


def _here(leaf: Any) -> Any:
    if isinstance(leaf, Elsewhere):
        return leaf.inner
    return torch.device("cpu") if isinstance(leaf, torch.device) and leaf.type == DEVICE.type else leaf


def _there(value: Any) -> Any:
    return Elsewhere(value) if isinstance(value, torch.Tensor) and not isinstance(value, Elsewhere) else value
