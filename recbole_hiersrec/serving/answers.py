"""What a recommender answers: plain values, which ``to_dict`` makes fit for JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Path_ = tuple[str, ...]


@dataclass(frozen=True)
class RecommendedItem:
    """One item of a recommendation.

    Attributes:
        item: its id, as in the data.
        score: as the model ranks it; None where popularity did.
        title: as in the data; None if the model was told of none.
        category: its category's path from the root; empty without categories.
        contributions: part of the score -> signed contribution, relative to the mean of all items; they sum to the
            score less the mean score of all items. None unless asked for.
        session_items: item of the session -> what this item's score, less the mean of all items, loses when that item
            is left out and the model is asked again; below 0 if it gains. Empty where nothing would be left of the
            session. None unless asked for.
    """

    item: str
    score: float | None
    title: str | None = None
    category: Path_ = ()
    contributions: dict[str, float] | None = None
    session_items: dict[str, float] | None = None


@dataclass(frozen=True)
class Recommendation:
    """The best items for one session.

    Attributes:
        items: best first.
        by: "model", or "popularity" where no item of the session is known.
        unknown: items of the session that the model does not know; they were skipped.
        note: what else must be known of this answer, such as that there are fewer items than asked for; or "".
        predicted: level -> the likeliest categories of the next item, each with its path and calibrated probability.
            None unless asked for.
        predicted_path: name and calibrated probability of the likeliest category of the first level, of the likeliest
            one below it, and so on; each level's probability is its own, not a product. None unless asked for.
        n_scored: items that were scored.
        n_compared: other vectors that were compared, to find out which items to score.
        scanned_fraction: both together, as a share of all items.
        seconds: what this session took: of a call with several, its share.
    """

    items: tuple[RecommendedItem, ...]
    by: Literal["model", "popularity"]
    unknown: tuple[str, ...]
    note: str
    predicted: dict[str, tuple[tuple[Path_, float], ...]] | None
    predicted_path: tuple[tuple[str, float], ...] | None
    n_scored: int
    n_compared: int
    scanned_fraction: float
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists, numbers and texts."""
        return asdict(self)
