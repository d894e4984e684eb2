"""A study of ``hiersrec tune``, as ``tuning.summary`` gives it, -> figures as SVG bytes; knows no Optuna."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from recbole_hiersrec.report.pictures import legend_below, short, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STUDY_CAPTIONS = {
    "history": "Validation metric of each trial, and the best so far.",
    "parallel": "Settings of each trial; the better its value, the darker its line.",
    "importance": "How much each setting matters (PED-ANOVA).",
    "front": "Both objectives of each trial; on the line those that no other one beats in both.",
}
SMALL = 10
"""Points of labels in the parallel coordinates, which lie below each other, since their names have no room beside."""


def draw_study(study: Mapping[str, Any]) -> dict[str, bytes]:
    """File name stem -> SVG of every figure that the study holds something for."""
    title = f"{study['study']}: {study['line']} on {study['dataset']}, {len(study['trials'])} trials"
    done = [trial for trial in study["trials"] if trial["values"]]
    drawn = {}
    if done:
        drawn["history"] = svg(lambda axes: _history(axes, study), title)
        drawn["parallel"] = svg(
            lambda axes: _parallel(axes, study, done), title, 0.8 + 0.45 * (1 + len(study["space"]))
        )
    if study["importance"]:
        drawn["importance"] = svg(lambda axes: _importance(axes, study["importance"]), title)
    if study["front"]:
        drawn["front"] = svg(lambda axes: _front(axes, study, done), title)
    return drawn


def _history(axes: Axes, study: Mapping[str, Any]) -> None:
    import seaborn as sns
    from matplotlib.ticker import MaxNLocator

    blue, orange = sns.color_palette("colorblind", 2)
    done = [(trial["number"], trial["values"][0]) for trial in study["trials"] if trial["values"]]
    pruned = [
        (trial["number"], max(trial["curve"].values()))
        for trial in study["trials"]
        if trial["state"] == "pruned" and trial["curve"]
    ]
    best = [max(value for _, value in done[: place + 1]) for place in range(len(done))]
    axes.step([number for number, _ in done], best, where="post", color=orange, label="best so far")
    axes.scatter(*zip(*done, strict=True), color=blue, label="finished", zorder=3)
    if pruned:
        axes.scatter(*zip(*pruned, strict=True), facecolors="none", edgecolors=blue, label="pruned", zorder=3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="trial", ylabel=f"validation {study['objectives'][0]}")
    legend_below(axes)


def _parallel(axes: Axes, study: Mapping[str, Any], done: Sequence[Mapping[str, Any]]) -> None:
    import seaborn as sns

    names = [name for name in study["space"] if any(name in trial["params"] for trial in done)]
    values = [trial["values"][0] for trial in done]
    low, high = min(values), max(values)
    shade = sns.color_palette("crest", as_cmap=True)
    for trial in sorted(done, key=lambda trial: trial["values"][0]):
        share = (trial["values"][0] - low) / (high - low) if high > low else 1.0
        places = [_place(study["space"][name], trial["params"].get(name)) for name in names]
        axes.plot([*places, share], range(len(names) + 1), color=shade(share), alpha=0.3 + 0.7 * share)
    ticks = [*(_ticks(study["space"][name]) for name in names), [(0.0, f"{low:.4f}"), (1.0, f"{high:.4f}")]]
    for row, marks in enumerate(ticks):
        for place, label in marks:
            side = "left" if place < 0.05 else "right" if place > 0.95 else "center"
            axes.annotate(short(label), (place, row + 0.12), fontsize=SMALL, ha=side, va="top")
    labels = [short(name) for name in (*names, study["objectives"][0])]
    axes.set_yticks(range(len(names) + 1), labels, fontsize=SMALL)
    axes.set(xticks=[], xlim=(-0.15, 1.03), ylim=(len(names) + 0.7, -0.3))


def _place(parameter: Mapping[str, Any], value: Any) -> float:
    """Where a value lies on its axis, 0 to 1; what was not searched in a trial lies below."""
    if value is None and None not in parameter.get("choice", ()):
        return -0.12
    if "choice" in parameter:
        options = parameter["choice"]
        return options.index(value) / max(1, len(options) - 1)
    low, high = parameter.get("float") or parameter["int"]
    if parameter.get("log"):
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (value - low) / (high - low) if high > low else 0.5


def _ticks(parameter: Mapping[str, Any]) -> list[tuple[float, str]]:
    if "choice" in parameter:
        return [(_place(parameter, value), str(value)) for value in parameter["choice"]]
    ends = parameter.get("float") or parameter["int"]
    return [(_place(parameter, end), f"{end:g}") for end in dict.fromkeys(ends)]


def _importance(axes: Axes, shares: Mapping[str, float]) -> None:
    import seaborn as sns

    names = [short(name) for name in shares]
    sns.barplot(x=list(shares.values()), y=names, color=sns.color_palette("colorblind")[0], ax=axes)
    for bars in axes.containers:
        axes.bar_label(bars, fmt="%.2f", padding=4)  # type: ignore[arg-type]
    axes.set(xlabel="share of the importance", ylabel="")
    axes.margins(x=0.1)


def _front(axes: Axes, study: Mapping[str, Any], done: Sequence[Mapping[str, Any]]) -> None:
    import seaborn as sns

    blue, orange = sns.color_palette("colorblind", 2)
    axes.scatter([trial["values"][1] for trial in done], [trial["values"][0] for trial in done], color=blue)
    best = sorted(
        (trial["values"][1], trial["values"][0]) for trial in done if trial["number"] in study["front"]
    )
    axes.plot(
        *zip(*best, strict=True), color=orange, marker="o", drawstyle="steps-post", label="Pareto front"
    )
    unit = "ms, median of one request" if study["objectives"][1] == "latency" else "share of all items"
    axes.set(xlabel=f"{study['objectives'][1]} ({unit})", ylabel=f"validation {study['objectives'][0]}")
    legend_below(axes)
