"""How RecBole is changed: wrap a method once, or replace a function wherever RecBole has imported it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

_MARK = "_recbole_hiersrec"


def wrap(owner: Any, name: str, build: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Replace ``owner.name`` by ``build(original)``, once: a second call changes nothing."""
    original = getattr(owner, name)
    if hasattr(original, _MARK):
        return
    changed = functools.wraps(original)(build(original))
    setattr(changed, _MARK, True)
    setattr(owner, name, changed)


def replace_everywhere(module: Any, name: str, new: Callable[..., Any]) -> None:
    """Put ``new`` in place of ``module.name`` in every loaded module of RecBole that holds it."""
    original = getattr(module, name)
    if original is new:
        return
    for key, loaded in list(sys.modules.items()):
        if loaded is None or key.partition(".")[0] != "recbole":
            continue
        for attribute in [k for k, value in vars(loaded).items() if value is original]:
            setattr(loaded, attribute, new)
