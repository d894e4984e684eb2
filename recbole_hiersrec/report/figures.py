"""Records of one (data set, protocol) -> figures as SVG bytes; models and rules look alike in all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from recbole_hiersrec.benchmark.rankfiles import candidate_keys
from recbole_hiersrec.benchmark.suite import headline
from recbole_hiersrec.evaluation.slices import TARGET
from recbole_hiersrec.report.breakdown import levels, pooled_bins, slice_cases
from recbole_hiersrec.report.looks import MARKERS, Look, rule_looks
from recbole_hiersrec.report.pictures import (
    HEIGHT,
    INK,
    MUTED,
    PAPER,
    legend_below,
    panels,
    short,
    short_names,
    svg,
)  # fmt: skip
from recbole_hiersrec.report.tables import (
    Entry,
    accuracy_value,
    headline_value,
    kept,
    timing_value,
)
from recbole_hiersrec.retrieval.budget import candidate_label

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

Looks = Mapping[str, Look]


def draw_all(lines: Sequence[Entry], looks: Looks, title: str) -> dict[str, bytes]:
    """File name stem -> SVG of every figure that the records hold something for."""
    drawn = {}
    names = dict(
        zip((line.label for line in lines), short_names(line.plain for line in lines).values(), strict=True)
    )
    shown = {names[line.label]: looks[line.model] for line in lines}
    metric = "{}@{}".format(*headline(*(lines[0].records[0]["job"][key] for key in ("metrics", "ks"))))
    for stem, rows, draw in (
        ("accuracy", _accuracy_rows(lines), _draw_accuracy),
        ("candidates", candidate_rows(lines), _draw_candidates),
        ("scanned", scanned_rows(lines), _draw_scanned),
        ("latency", latency_rows(lines), _draw_latency),
        ("learning", learning_rows(lines), _draw_learning),
        ("popularity", _popularity_rows(lines), _draw_popularity),
    ):
        if rows:
            height = max(2.4, 1.1 + 0.26 * len(lines)) if stem == "accuracy" else HEIGHT
            renamed = [row | {"model": names[row["model"]]} for row in rows]
            drawn[stem] = _svg(renamed, draw, shown, title, metric, height)
    if any(levels(line) for line in lines):
        drawn["reliability"] = _reliability(lines, names, looks, title)
    return drawn


def _svg(
    rows: list[dict[str, Any]],
    draw: Callable[[Axes, pd.DataFrame, Looks, str], None],
    looks: Looks,
    title: str,
    metric: str,
    height: float,
) -> bytes:
    import pandas as pd

    return svg(lambda axes: draw(axes, pd.DataFrame(rows), looks, metric), title, height)


def _accuracy_rows(lines: Sequence[Entry]) -> list[dict[str, Any]]:
    return [{"model": line.label, "value": value} for line in lines for value in line.values(headline_value)]


def _draw_accuracy(axes: Axes, frame: pd.DataFrame, looks: Looks, metric: str) -> None:
    import seaborn as sns

    several = frame["model"].duplicated().any()
    bar = "sd" if several else None
    sns.barplot(
        frame, x="value", y="model", hue="model", palette=_colours(looks), errorbar=bar, legend=False,
        saturation=1, ax=axes, err_kws={"color": INK, "linewidth": 1.5},
    )  # fmt: skip
    for bars in axes.containers:
        if hasattr(bars, "patches"):
            axes.bar_label(bars, fmt="%.4f", padding=8)  # type: ignore[arg-type]
    axes.set(
        xlabel=metric + (" (mean ± SD of seeds)" if several else ""),
        ylabel="",
    )
    axes.margins(x=0.15)
    axes.tick_params(axis="y", labelsize="small")


def candidate_rows(lines: Sequence[Entry]) -> list[dict[str, Any]]:
    return [
        {
            "model": line.label,
            "rule": rule,
            "percent": 100 * fraction,
            "kept": 100 * share,
            "scanned": _scanned(record, rule, fraction),
        }
        for line in lines
        for record in line.records
        for rule, fraction in candidate_keys(record)
        if (share := kept(record, rule, fraction)) is not None
    ]


def scanned_rows(lines: Sequence[Entry]) -> list[dict[str, Any]]:
    """Seeds of a model joined: each has a slightly different scanned fraction, and is no point of its own."""
    points: dict[tuple[str, str, float], list[dict[str, Any]]] = {}
    for row in candidate_rows(lines):
        if row["scanned"] is not None:
            points.setdefault((row["model"], row["rule"], row["percent"]), []).append(row)
    return [
        {"model": model, "rule": rule}
        | {key: sum(row[key] for row in rows) / len(rows) for key in ("scanned", "kept")}
        for (model, rule, _), rows in points.items()
    ]


def _scanned(record: Mapping[str, Any], rule: str, fraction: float) -> float | None:
    """Percent of all items that were compared or scored."""
    found = accuracy_value(record, "ScannedFraction", None, fraction, rule)
    return None if found is None else 100 * found


def _draw_candidates(axes: Axes, frame: pd.DataFrame, _: Looks, metric: str) -> None:
    several = frame.duplicated(["model", "rule", "percent"]).any()
    _draw_kept(axes, frame, "percent", "sd" if several else None, metric)
    ticks = sorted(frame["percent"].unique())
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set(xlabel="items scored, at most (% of all items)")


def _draw_scanned(axes: Axes, frame: pd.DataFrame, _: Looks, metric: str) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    _draw_kept(axes, frame, "scanned", None, metric)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 4, 6)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set(xlabel="vectors compared and items scored (% of all items)")


def _draw_kept(axes: Axes, frame: pd.DataFrame, x: str, errorbar: str | None, metric: str) -> None:
    """One line a rule and model: a rule has its look, a model one dash."""
    import seaborn as sns

    rules = rule_looks(frame["rule"])
    models = list(dict.fromkeys(frame["model"]))
    dashes = [(), (4, 1.5), (1, 1), (3, 1, 1, 1), (5, 1, 1, 1, 1, 1)]
    dashes += [(number, 2) for number in range(len(dashes) + 1, len(models) + 1)]
    for number, model in enumerate(models):
        for rule, look in rules.items():
            line = frame[(frame["model"] == model) & (frame["rule"] == rule)]
            if len(line):
                sns.lineplot(
                    line, x=x, y="kept", color=look.colour, marker=look.marker, errorbar=errorbar, ax=axes,
                    label=f"{rule}, {model}" if len(models) > 1 else rule,
                    dashes=False, linestyle=(0, dashes[number]),
                )  # fmt: skip
    axes.axhline(100, color=MUTED, linestyle="--", linewidth=1)
    axes.set_xscale("log")
    axes.ticklabel_format(axis="y", useOffset=False)
    low, high = axes.get_ylim()
    if high - low < 1:  # hundredths of a percent are not to look like much
        axes.set_ylim((low + high - 1) / 2, (low + high + 1) / 2)
    axes.set(ylabel=f"{metric} kept (%)")
    legend_below(axes)


def latency_rows(lines: Sequence[Entry]) -> list[dict[str, Any]]:
    rows = []
    for line in lines:
        variants: list[tuple[str, float | None, str]] = [("all items", None, "")]
        variants += [(candidate_label(rule, f), f, rule) for rule, f in candidate_keys(line.records[0])]
        for variant, fraction, rule in variants:
            ms = line.mean(partial(timing_value, variant=variant, stage="total", quantity="latency median"))
            value = line.mean(partial(_headline_at, fraction=fraction, rule=rule))
            if ms is not None and value is not None:
                rows.append({"model": line.label, "scored": rule or "all items", "ms": ms, "value": value})
    return rows


def front(rows: Sequence[Mapping[Any, Any]]) -> list[Mapping[Any, Any]]:
    """Of :func:`latency_rows` those that no other one beats in latency and accuracy, fastest first."""
    found: list[Mapping[Any, Any]] = []
    for row in sorted(rows, key=lambda row: (row["ms"], -row["value"])):
        if not found or row["value"] > found[-1]["value"]:
            found.append(row)
    return found


def _headline_at(record: Mapping[str, Any], fraction: float | None, rule: str) -> float | None:
    return accuracy_value(record, *headline(record["job"]["metrics"], record["job"]["ks"]), fraction, rule)


def _draw_latency(axes: Axes, frame: pd.DataFrame, looks: Looks, metric: str) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.ticker import LogLocator, NullLocator

    kinds = sorted(frame["scored"].unique(), key=lambda kind: (kind != "all items", kind))
    markers = {kind: look.marker for kind, look in rule_looks(kinds).items()} | {"all items": MARKERS[0]}
    for row in frame.to_dict("records"):
        axes.scatter(
            row["ms"], row["value"], color=looks[row["model"]].colour, marker=markers[row["scored"]], s=70,
            edgecolors=PAPER, linewidths=0.5,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    (edge,) = axes.plot(
        *zip(*((row["ms"], row["value"]) for row in front(frame.to_dict("records"))), strict=True),
        color=MUTED, linestyle="--", linewidth=1, drawstyle="steps-post", zorder=0,
    )  # fmt: skip
    axes.set(xlabel="latency of one query (median, ms)", ylabel=metric)
    entries: dict[str, Artist] = {
        model: Patch(color=looks[model].colour) for model in dict.fromkeys(frame["model"])
    }
    # A model may be called like a rule: what is a rule's has the colour of no model.
    entries |= {
        f"by {kind}" if kind in entries else kind: Line2D(
            [], [], color=MUTED, marker=markers[kind], linestyle=""
        )
        for kind in kinds
    }
    legend_below(axes, entries | {"none faster and better": edge})


def learning_rows(lines: Sequence[Entry]) -> list[dict[str, Any]]:
    return [
        {
            "model": line.label,
            "seed": record["job"]["seed"],
            "seconds": point["seconds"],
            "valid": point["valid"],
            "metric": record["training"]["valid_metric"],
        }
        for line in lines
        for record in line.records
        for point in record["training"]["curve"]
        if point.get("valid") is not None
    ]


def _draw_learning(axes: Axes, frame: pd.DataFrame, looks: Looks, _: str) -> None:
    import seaborn as sns

    sns.lineplot(
        frame, x="seconds", y="valid", hue="model", style="model", units="seed", estimator=None,
        palette=_colours(looks), markers={label: look.marker for label, look in looks.items()}, dashes=False, ax=axes,
    )  # fmt: skip
    axes.set(xlabel="training time (s)", ylabel=f"validation {frame['metric'].iloc[0]}")
    legend_below(axes)


def _popularity_rows(lines: Sequence[Entry]) -> list[dict[str, Any]]:
    ranked = [line for line in lines if line.ranked]
    cases = slice_cases(ranked, TARGET)
    return [
        {"model": line.label, "target": f"{name}\n({n_cases} cases)", "value": value}
        for name, n_cases in cases.items()
        for line in ranked
        for value in line.values(partial(_headline_in, part=f"{TARGET}: {name}"))
    ]


def _headline_in(record: Mapping[str, Any], part: str) -> float | None:
    return accuracy_value(record, *headline(record["job"]["metrics"], record["job"]["ks"]), part=part)


def _draw_popularity(axes: Axes, frame: pd.DataFrame, looks: Looks, metric: str) -> None:
    import seaborn as sns

    several = frame.duplicated(["model", "target"]).any()
    bar = "sd" if several else None
    sns.barplot(
        frame,
        x="target",
        y="value",
        hue="model",
        palette=_colours(looks),
        errorbar=bar,
        saturation=1,
        ax=axes,
    )
    axes.set(xlabel="", ylabel=metric + (" (mean ± SD of seeds)" if several else ""))
    legend_below(axes)


def _reliability(lines: Sequence[Entry], names: Mapping[str, str], looks: Looks, title: str) -> bytes:
    """A panel a level; each model's bins are those of all its seeds together."""
    from matplotlib.patches import Patch

    found = list(dict.fromkeys(level for line in lines for level in levels(line)))
    legend = {names[line.label]: Patch(color=looks[line.model].colour) for line in lines if levels(line)}
    draws = [partial(_draw_reliability, lines=lines, looks=looks, level=level) for level in found]
    return panels(draws, title, legend=legend)


def _draw_reliability(axes: Axes, lines: Sequence[Entry], looks: Looks, level: str) -> None:
    largest = 0.0
    for line in lines:
        points = pooled_bins(line, level)
        if points:
            confidence, accuracy, count = zip(*points, strict=True)
            areas = [200 * cases / sum(count) for cases in count]
            look = looks[line.model]
            axes.plot(confidence, accuracy, color=look.colour, linewidth=1)
            axes.scatter(confidence, accuracy, s=areas, color=[look.colour], marker=look.marker)
            largest = max(largest, *confidence, *accuracy)
    axes.plot([0, 1], [0, 1], color=MUTED, linestyle="--", linewidth=1)
    limits = (0, 1.05 * largest)
    axes.set(xlim=limits, ylim=limits, aspect="equal", xlabel="predicted probability", ylabel="share right")
    axes.set_title(short(level), fontsize="small")


def _colours(looks: Looks) -> dict[str, str]:
    return {label: look.colour for label, look in looks.items()}
