"""What the tables show, in sentences, and what they do not."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from statistics import mean

from recbole_hiersrec.benchmark.rankfiles import candidate_keys
from recbole_hiersrec.benchmark.suite import headline
from recbole_hiersrec.report import tables
from recbole_hiersrec.report.comparison import Comparison
from recbole_hiersrec.report.document import Block, Bullets, Text
from recbole_hiersrec.report.frame import Record
from recbole_hiersrec.retrieval.budget import candidate_label

NOT_TESTED = "No significance test was made"
TESTED = "Intervals and tests stand under Comparisons"
MOST_RULES = 3  # of more, sentences name the two ends
SHOWN_FRACTION = 0.04  # sentences name one item fraction, the nearest to this; the tables have all


def claim(title: str, records: Sequence[Record], comparison: Comparison | None = None) -> list[Block]:
    """Who is first, by how much and how sure that is, in two sentences; below, what candidates keep and the caution.

    ``title`` names the table.
    """
    ranked = [line for line in tables.entries(records) if line.ranked]
    if not ranked:
        none = f"**{title}**: no model has finished all its seeds within the limits, so nothing is ranked."
        return [Text(none, lead=True)]
    best, name = ranked[0], headline_name(records[0])
    text = f"**{title}**: {best.model} has the highest {name}, {_headline(best)}"
    if len(ranked) > 1:
        second = ranked[1]
        tie = f"{second.mean(tables.headline_value):.4f}" == f"{best.mean(tables.headline_value):.4f}"
        text += f", {'level with' if tie else 'before'} {second.model} with {_headline(second)}"
        if comparison and comparison.has_tests and comparison.reference not in (best.model, second.model):
            text += " (not tested against each other)"
    sure = comparison.sentence(best.model) if comparison else ""
    tested = comparison is not None and comparison.has_tests
    lines = [f"{line}." for line in (*_all_candidates(records, ranked), caution(records, tested)[:-1])]
    return [Text(". ".join(filter(None, [text, sure])) + ".", lead=True), Bullets(lines)]


def _all_candidates(records: Sequence[Record], ranked: Sequence[tables.Entry]) -> list[str]:
    """What each line keeps on its candidates, and what shares above 100 % may come from."""
    shown = [line for line in ranked if candidate_keys(line.records[0])]
    texts = [text for line in shown for text in _candidates(line, ranked)]
    shares = [_shares(line, rule, f) for line in shown for rule, f in _nearest(line)]
    if any(round(mean(share), 3) > 1 for share in shares if share):
        unmasked = records[0]["job"]["protocol"]["history"] == "unmasked"
        left_out = " or items of the session itself that the candidates leave out" if unmasked else ""
        texts.append(f"Shares above 100 % may be chance{left_out}")
    return texts


def caution(records: Sequence[Record], tested: bool = False, where: str = "") -> str:
    """How many seeds and cases the figures rest on, and whether differences were tested (``where``: in which file)."""
    tests = f"{TESTED}{where}" if tested else NOT_TESTED
    seeds = sorted({record["job"]["seed"] for record in records})
    if len(seeds) == 1:
        return f"One seed ({seeds[0]}) and {case_count(records)}: small differences may be chance. {tests}."
    finished = sorted({len(line.records) for line in tables.entries(records) if not line.stopped})
    counts = " or ".join(str(count) for count in finished) or "no"
    return (
        f"Means ± standard deviations over {counts} finished seeds a model, {case_count(records)}. {tests}."
    )


def case_count(records: Sequence[Record]) -> str:
    """How many test cases the figures are of, and of how many sessions where one session has several."""
    data = records[0]["data"]
    cases, sessions = data["n_test"], data.get("n_test_sessions", data["n_test"])
    return f"{cases} test cases" + (f" of {sessions} sessions" if sessions != cases else "")


def headline_name(record: Record) -> str:
    """Name of the metric that tables are sorted by, such as "NDCG@10"."""
    metric, k = headline(record["job"]["metrics"], record["job"]["ks"])
    return f"{metric}@{k}"


def _headline(line: tables.Entry) -> str:
    return tables.number(line.values(tables.headline_value), 4)


def _candidates(line: tables.Entry, ranked: Sequence[tables.Entry]) -> list[str]:
    """A sentence a rule; of many rules the two ends in one."""
    place = int(tables.rank(line, ranked))
    model = line.model if place == 1 else f"{line.model}, {_ordinal(place)} of {len(ranked)},"
    name, rules = headline_name(line.records[0]), _nearest(line)
    if len(rules) > MOST_RULES:
        shares = {rule: 100 * mean(_shares(line, rule, f)) for rule, f in rules if _shares(line, rule, f)}
        least, most = (choose(shares, key=lambda rule: shares[rule]) for choose in (min, max))
        fractions = " or ".join(f"{100 * f:g}" for f in sorted({f for _, f in rules}))
        return [
            f"Scoring {fractions} % of the items {model} keeps {shares[least]:.1f} % (rule {least}) to "
            f"{shares[most]:.1f} % (rule {most}) of its {name}, by {len(shares)} rules"
        ]
    return [
        f"Scoring {100 * f:g} % of the items {model} keeps {tables.percent(_shares(line, rule, f))} of its "
        f"{name} ({', '.join([f'rule {rule}', *_costs(line, rule, f)])})"
        for rule, f in rules
    ]


def _nearest(line: tables.Entry) -> list[tuple[str, float]]:
    """Each rule with its item fraction nearest to the one that sentences name."""
    fractions: dict[str, list[float]] = {}
    for rule, f in candidate_keys(line.records[0]):
        fractions.setdefault(rule, []).append(f)
    return [(rule, min(found, key=lambda f: abs(f - SHOWN_FRACTION))) for rule, found in fractions.items()]


def _shares(line: tables.Entry, rule: str, fraction: float) -> list[float]:
    return line.values(partial(tables.kept, rule=rule, fraction=fraction))


def _costs(line: tables.Entry, rule: str, fraction: float) -> list[str]:
    """What the record holds of: items scanned, speed for one query, speed in batches."""
    scanned = line.values(
        partial(tables.accuracy_value, metric="ScannedFraction", k=None, fraction=fraction, rule=rule)
    )
    variant = candidate_label(rule, fraction)
    one, batch = (tables.gain(line, variant, quantity) for quantity in ("latency median", "throughput"))
    texts = [f"{tables.percent(scanned)} of the items scanned"] if scanned else []
    texts += [f"{one} the speed of all items for one query"] if one != "-" else []
    return [*texts, f"{batch} in batches"] if batch != "-" else texts


def _ordinal(n: int) -> str:
    last = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{last}"
