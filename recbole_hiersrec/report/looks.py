"""How models and candidate rules look, wherever they stand: a colour that is a model's means no rule."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from zlib import crc32

from recbole_hiersrec.retrieval.needs import RULES

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
KNOWN = (
    "HierSRec", "SASRecAllPositions", "GRU4RecAllPositions", "MarkovChain", "item-only", "SequentialPop",
    "no categories", "flat", "no memory", "metadata",
    "no item ids", "no category task", "shared encoder", "hard feedback", "no repeat term", "SASRec", "GRU4Rec",
    "one level", "STAMP", "SKNN",
    "no averaging", "memory of items alone", "joint score", "NARM", "repeat term", "STAN", "BERT4Rec", "titles",
    "SRGNN", "VSKNN",
    "memory of genres", "no metadata dropout", "no category vectors", "CORE", "SASRecF", "GRU4RecF", "no titles",
    "SessionPop",
)  # fmt: skip
"""Models of the shipped suites, each with a place of its own; new ones go to the end, so that no other one moves."""
OTHERS = 30
"""Places that models of other names begin their search in: those with the lightest colours."""
HUES = 10


@dataclass(frozen=True)
class Look:
    """A colour as #rrggbb, and a marker of matplotlib."""

    colour: str
    marker: str


def model_looks(models: Iterable[str]) -> dict[str, Look]:
    """Model -> its look, from a palette that colour-blind readers can tell apart; no two models get the same one.

    Known models have theirs on every page. Others have one that follows from the name, unless the page has given it to
    another model: then the next that is free.
    """
    names = set(models)
    places = {name: place for place, name in enumerate(KNOWN) if name in names}
    taken = set(places.values())
    for name in sorted(names - places.keys()):
        place = 1 + crc32(name.encode(errors="backslashreplace")) % (
            OTHERS - 1
        )  # the first is HierSRec's alone
        while place in taken:
            place += 1
        places[name] = place
        taken.add(place)
    return {name: _model_look(place) for name, place in places.items()}


def rule_looks(rules: Iterable[str]) -> dict[str, Look]:
    """Candidate rule -> its look, from dark red to sand: shades that no model has."""
    import seaborn as sns
    from matplotlib.colors import to_hex

    names = [*RULES, *sorted(set(rules) - RULES.keys())]
    shades = sns.color_palette("rocket", as_cmap=True)
    # Neighbours in the order of the rules are three shades apart.
    colours = [to_hex(shades(0.28 + 0.08 * (3 * place % len(RULES)))) for place in range(len(names))]
    return {
        name: Look(colours[place], MARKERS[1 + place % (len(MARKERS) - 1)])
        for place, name in enumerate(names)
        if name in set(rules)
    }


def _model_look(place: int) -> Look:
    """The ten colours of the palette, then the same, darker each time, with other markers."""
    import seaborn as sns
    from matplotlib.colors import to_hex

    times, hue = divmod(place, HUES)
    red, green, blue = (0.75**times * part for part in sns.color_palette("colorblind", HUES)[hue])
    return Look(to_hex((red, green, blue)), MARKERS[(hue + times) % len(MARKERS)])
