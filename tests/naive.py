"""What rules do with items that are scored apart, in plain loops."""

from __future__ import annotations

from recbole_hiersrec.queries import Queries


def lifted(queries: Queries, row: int, budget: int) -> list[int]:
    """The row's items with a bonus above 0: the largest first, of equal ones that which stands further right."""
    if queries.apart is None:
        return []
    both = zip(queries.apart.ids[row].tolist(), queries.apart.bonus[row].tolist(), strict=True)
    found = [(-bonus, -place, item) for place, (item, bonus) in enumerate(both) if item and bonus > 0]
    return [item for *_, item in sorted(found)[:budget]]
