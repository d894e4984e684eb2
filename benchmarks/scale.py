"""How long a recommendation takes against the size of the catalogue: every item, cells of lists, a graph.

    python benchmarks/scale.py                          # all sizes of scale.yaml, and a figure
    python benchmarks/scale.py --items 10000 --repeats 20
    python benchmarks/scale.py --hnsw-items 1000000     # also build the graph of a million items

The catalogue is a generated one (`hiersrec data generate`), and its item vectors are planted, not learned: id and
category embeddings are normal, of equal variance, put together by HierSRec's own network; a query is the vector of
the next item of a generated session plus noise. Encoder and heads run as served, on the generated sessions; only
what they say is replaced by the planted query. All searches take turns within every round, on the same cases; whole
requests are measured one after the other, each kind by itself, because a service does not go through another's
catalogue between two of its own.
Results go to results/scale/ as JSON, with the machine, the versions and the threads beside every figure.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
import yaml
from torch import Tensor

from recbole_hiersrec.benchmark import environment
from recbole_hiersrec.data.catalogue import Catalogue
from recbole_hiersrec.data.generator import Generated, GeneratorSettings, generate
from recbole_hiersrec.data.taxonomy import Taxonomy
from recbole_hiersrec.evaluation.speed import TOTAL, Step, Timing, rule_steps, take_turns, using_threads
from recbole_hiersrec.model.memory import build_memory
from recbole_hiersrec.model.network import HierSRecNetwork, build_network
from recbole_hiersrec.queries import Queries, check_sessions
from recbole_hiersrec.retrieval.budget import candidate_label, item_budget
from recbole_hiersrec.retrieval.cells import Cells
from recbole_hiersrec.retrieval.lists import build_lists, cell_cap
from recbole_hiersrec.retrieval.own import lifted_items, merge
from recbole_hiersrec.settings import HierSRecSettings, SpeedSettings

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results" / "scale"
MIB = 2**20
NOISE = 0.7
"""Standard deviation of what is added to a planted query, of which every item vector's entries have about 1."""
BLOCK = 4096
"""Items multiplied at once by the blocked search of all items; their scores for a batch stay in the cache."""
EXACT = "all items, "
EVERY = "request, all items"


@dataclass(frozen=True)
class Served:
    """A catalogue as it is served: network, item vectors, and cases with planted queries."""

    network: HierSRecNetwork
    item_vectors: Tensor  # [N + 1, A]
    categories: np.ndarray  # [N + 1], the finest
    history: Tensor  # [n, L]
    length: Tensor  # [n]
    planted: Tensor  # [n, A]

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Histories, their lengths and the planted queries of the cases ``index``."""
        return self.history[index], self.length[index], self.planted[index]

    def encode(self, batch: tuple[Tensor, Tensor, Tensor]) -> Queries:
        """Encoder and heads, as :meth:`HierSRec.encode` runs them; the planted queries stand in for theirs."""
        history, length, planted = batch
        longest = check_sessions(history, length, len(self.item_vectors) - 1, history.size(1))
        last = torch.arange(len(history)), length - 1
        width = self.network.heads.hidden_size
        table = self.item_vectors[:, :width]
        states, heads = self.network.read(history[:, :longest], length - 1, table)
        self.network.queries(heads)
        memory = self.network.memory
        assert memory is not None
        apart = self.network.apart(
            states, self.network.own(history, *last), *memory.recall(history, length, *last)
        )
        return Queries(planted, history, apart, tuple(heads.category_logits))


def served(n_items: int, given: dict[str, Any]) -> Served:
    """Generate a catalogue and sessions, and put HierSRec's network with planted item vectors on top."""
    made = generate(
        GeneratorSettings(
            items=n_items, clicks=200_000, level_sizes=tuple(given["level_sizes"]), seed=given["seed"]
        )
    )
    torch.manual_seed(given["seed"])
    settings = HierSRecSettings(hidden_size=given["hidden_size"], initializer_range=1 / 3**0.5)
    catalogue = _catalogue(made)
    histories, targets = _sessions(made, given["cases"], given["max_length"])
    pairs = [_followed(made, distance) for distance in range(1, settings.follower_window + 1)]
    memory = build_memory(pairs, catalogue, settings)
    network = build_network(catalogue, settings, given["max_length"], memory=memory).eval()
    torch.nn.init.normal_(network.item_bias.weight, std=0.3)
    with torch.inference_mode():
        vectors = network.item_vectors().contiguous()
        planted = vectors[targets] + NOISE * torch.randn(len(targets), vectors.shape[1])
        planted[:, -1] = 1
    assert catalogue.taxonomy is not None
    finest = catalogue.taxonomy.item_category[:, -1]
    return Served(network, vectors, finest, histories, (histories > 0).sum(1), planted)


def _catalogue(made: Generated) -> Catalogue:
    """The generated items with two category levels; the others' side information is not served."""
    n_leaves = len(made.parent)
    leaf = np.append(-1, made.leaf)
    parent = np.append(-1, made.parent[made.leaf])
    labels = tuple((f"c{number}",) for number in range(int(made.parent.max()) + 1))
    leaves = tuple((*labels[above], f"c{above}.{number}") for number, above in enumerate(made.parent))
    taxonomy = Taxonomy(
        levels=("level_1", "level_2"),
        labels=(labels, leaves),
        parents=(np.zeros(len(labels), np.int64), made.parent),
        item_category=np.stack([parent, leaf], axis=1),
    )
    nothing = np.zeros((len(leaf), 0), np.int64)
    assert len(leaves) == n_leaves
    return Catalogue(tuple(map(str, range(1, len(leaf)))), taxonomy, nothing, nothing)


def _log(made: Generated) -> tuple[np.ndarray, np.ndarray]:
    """Session and item of every click, session by session, in time order."""
    events = made.events.sort("session", "time")
    return events["session"].to_numpy(), events["item"].to_numpy()


def _followed(made: Generated, distance: int) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of the log: (item, item that came ``distance`` steps after it in the session)."""
    session, item = _log(made)
    same = session[distance:] == session[:-distance]
    return item[:-distance][same], item[distance:][same]


def _sessions(made: Generated, n_cases: int, max_length: int) -> tuple[Tensor, Tensor]:
    """Histories [n, L] and targets [n] of the first sessions."""
    session, item = _log(made)
    same = session[1:] == session[:-1]
    history, targets = (
        torch.zeros(n_cases, max_length, dtype=torch.long),
        torch.zeros(n_cases, dtype=torch.long),
    )
    starts = np.flatnonzero(np.append(True, ~same))
    for row, (start, stop) in enumerate(itertools.pairwise(starts[: n_cases + 1].tolist())):
        kept = torch.from_numpy(item[start : stop - 1][-max_length:].copy())
        history[row, : len(kept)] = kept
        targets[row] = int(item[stop - 1])
    return history, targets


def top_of_all(vectors: Tensor, queries: Tensor, k: int) -> np.ndarray:
    """One product with all items, then the k best: ids [B, k]."""
    return (queries @ vectors.T)[:, 1:].topk(k, dim=1).indices.numpy() + 1


def top_by_blocks(vectors: Tensor, queries: Tensor, k: int) -> np.ndarray:
    """The k best of every block of items, then of those: ids [B, k]. The scores never leave the cache."""
    scores, ids = [], []
    room = torch.empty(len(queries) * BLOCK)
    for start in range(1, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK]
        out = room[: len(queries) * len(block)].view(len(queries), len(block))
        best = torch.mm(queries, block.T, out=out).topk(min(k, len(block)), dim=1)
        scores.append(best.values)
        ids.append(best.indices + start)
    return torch.cat(ids, 1).gather(1, torch.cat(scores, 1).topk(k, dim=1).indices).numpy()


def in_onednn(search: Callable[[Tensor], np.ndarray]) -> Callable[[Tensor], np.ndarray]:
    """The search with torch's float32 products left to oneDNN, which on some processors is faster than MKL.

    On processors with matrix units oneDNN may then multiply in bfloat16; the recall says what that costs.
    """

    def run(queries: Tensor) -> np.ndarray:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("medium")
        try:
            return search(queries)
        finally:
            torch.set_float32_matmul_precision(before)

    return run


@dataclass
class Searches:
    """Variants of the search by inner product, [B, A] -> ids [B, k]; and what each holds and took to build."""

    flat: faiss.IndexFlatIP
    by_name: dict[str, Callable[[Tensor], np.ndarray]]
    mib: dict[str, float]
    build_seconds: dict[str, float]
    cells: Cells
    n_lists: int


def searches(catalogue: Served, given: dict[str, Any]) -> Searches:
    """Build every variant for a catalogue."""
    vectors, k = catalogue.item_vectors, given["k"]
    rows = vectors.numpy()[1:]
    table = rows.nbytes / MIB
    began = time.perf_counter()
    lists = build_lists(vectors, catalogue.categories, cell_cap(len(rows)), given["seed"])
    cells = Cells(lists, vectors)
    seconds = time.perf_counter() - began
    flat = faiss.IndexFlatIP(rows.shape[1])
    flat.add(rows)
    plain, blocks = (
        functools.partial(top_of_all, vectors, k=k),
        functools.partial(top_by_blocks, vectors, k=k),
    )
    found = Searches(
        flat,
        {
            EXACT + "torch": lambda queries: plain(queries=queries),
            EXACT + "torch, oneDNN": in_onednn(lambda queries: plain(queries=queries)),
            EXACT + "torch, blocks, oneDNN": in_onednn(lambda queries: blocks(queries=queries)),
            EXACT + "FAISS flat": lambda queries: flat.search(queries.numpy(), k)[1] + 1,
        },
        {EXACT + "torch": table, EXACT + "FAISS flat": table},
        {},
        cells,
        len(lists),
    )
    extra = (lists.centroids.nbytes + 2 * lists.members.nbytes) / MIB
    for fraction in given["item_fractions"]:
        name = candidate_label("cells", fraction)
        budget = item_budget(fraction, len(rows))
        found.by_name[name] = functools.partial(_cells_search, cells, budget, k)
        found.mib[name], found.build_seconds[name] = table + extra, seconds
    if len(rows) <= given["hnsw"]["most_items"]:
        _add_graph(found, rows, given["hnsw"], k)
    return found


def _cells_search(cells: Cells, budget: int, k: int, queries: Tensor) -> np.ndarray:
    return cells.search(Queries(queries, torch.zeros(len(queries), 1, dtype=torch.long)), k, budget)[0]


def _add_graph(found: Searches, rows: np.ndarray, given: dict[str, Any], k: int) -> None:
    """FAISS's HNSW, built once, searched with every width."""
    began = time.perf_counter()
    index = faiss.IndexHNSWFlat(rows.shape[1], given["neighbours"], faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = given["ef_construction"]
    index.add(rows)
    seconds = time.perf_counter() - began
    graph: Any = index.hnsw
    links = (4 * graph.neighbors.size() + 8 * graph.offsets.size()) / MIB

    def search(width: int, queries: Tensor) -> np.ndarray:
        index.hnsw.efSearch = width
        return index.search(queries.numpy(), k)[1] + 1

    for width in given["ef_search"]:
        name = f"HNSW, efSearch {width}"
        found.by_name[name] = functools.partial(search, width)
        found.mib[name], found.build_seconds[name] = rows.nbytes / MIB + links, seconds


def recall(found: np.ndarray, exact: np.ndarray) -> float:
    """Share of the exact top k, [n, k], that was found."""
    return float(np.mean([np.isin(wanted, row).mean() for row, wanted in zip(found, exact, strict=True)]))


def measure(n_items: int, given: dict[str, Any]) -> dict[str, Any]:
    """Everything about one size, as a row of the JSON file."""
    catalogue = served(n_items, given)
    variants = searches(catalogue, given)
    queries = catalogue.planted
    exact = np.concatenate([variants.by_name[EXACT + "FAISS flat"](part) for part in queries.split(256)])
    alone: dict[str, list[Step]] = {
        name: [("search", functools.partial(_run, run))] for name, run in variants.by_name.items()
    }
    whole = _requests(catalogue, variants, given)
    one = SpeedSettings(repeats=given["repeats"], warmup=given["warmup"])
    many = SpeedSettings(repeats=given["batch_repeats"], warmup=1)
    n_cases = len(queries)
    single = take_turns(catalogue, alone, n_cases, 1, one)
    batched = take_turns(catalogue, alone, n_cases, given["batch_size"], many)
    for name, steps in whole.items():  # request after request, as a service runs them
        with using_threads(given["threads"], of_torch=given["request_torch_threads"]):
            single |= take_turns(catalogue, {name: steps}, n_cases, 1, one)
        if name != EVERY:
            batched |= take_turns(catalogue, {name: steps}, n_cases, given["batch_size"], many)
    rows = [
        {
            "variant": name,
            "one_ms": _milliseconds(single[name, TOTAL]),
            "batch_ms": _milliseconds(batched[name, TOTAL]),
            "queries_per_second": round(given["batch_size"] / batched[name, TOTAL].median, 1),
            "recall": round(recall(np.concatenate([run(part) for part in queries.split(256)]), exact), 4),
            "mib": _rounded(variants.mib.get(name)),
            "build_seconds": _rounded(variants.build_seconds.get(name)),
        }
        for name, run in variants.by_name.items()
    ]
    return {
        "items": n_items,
        "width": queries.shape[1],
        "lists": variants.n_lists,
        "search": rows,
        "ratios": _ratios(rows, given),
        "request": {
            name: {
                stage: {
                    what: _milliseconds(timings[name, stage])
                    for what, timings in (("one_ms", single), ("batch_ms", batched))
                    if (name, stage) in timings
                }
                for stage in [step for step, _ in steps] + [TOTAL]
            }
            for name, steps in whole.items()
        },
    }


def _run(search: Callable[[Tensor], np.ndarray], batch: tuple[Tensor, Tensor, Tensor]) -> np.ndarray:
    return search(batch[2])


def _requests(catalogue: Served, variants: Searches, given: dict[str, Any]) -> dict[str, list[Step]]:
    """Whole requests: encoder, heads and memory, choice of lists, top k within them, with the items scored apart.

    Beside them one that scores all items, for single queries: with FAISS flat, the fastest for those.
    """
    k, table = given["k"], catalogue.item_vectors.numpy()

    def every(queries: Queries) -> tuple[np.ndarray, np.ndarray]:
        assert queries.apart is not None
        scores, rows = variants.flat.search(queries.vectors.numpy(), k + queries.apart.ids.shape[1])
        return merge((rows + 1, scores), lifted_items(queries, len(table)), queries, table, k)

    return {EVERY: [("encoder and heads", catalogue.encode), ("top-k", every)]} | {
        f"request, {candidate_label('cells', fraction)}": [
            ("encoder and heads", catalogue.encode),
            *rule_steps(
                variants.cells,
                item_budget(fraction, len(catalogue.item_vectors) - 1),
                given["k"],
                catalogue.item_vectors,
            ),
        ]
        for fraction in given["item_fractions"]
    }


def _milliseconds(timing: Timing) -> dict[str, float]:
    named = {"p50": 50, "p95": 95, "p99": 99}
    return {name: round(1e3 * timing.percentile(q), 3) for name, q in named.items()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _ratios(rows: list[dict[str, Any]], given: dict[str, Any]) -> list[dict[str, Any]]:
    """How many times faster cells are than the fastest search of all items, and the share of what is possible."""
    plain = (EXACT + "torch", EXACT + "FAISS flat")
    of = {row["variant"]: row for row in rows}
    found = []
    for fraction in given["item_fractions"]:
        name = candidate_label("cells", fraction)
        for what in ("one_ms", "batch_ms"):
            median = of[name][what]["p50"]
            fastest = min(
                (row[what]["p50"], row["variant"]) for row in rows if row["variant"].startswith(EXACT)
            )
            times = min(of[exact][what]["p50"] for exact in plain) / median
            found.append(
                {
                    "variant": name,
                    "what": what,
                    "times_faster_than_torch_or_faiss_flat": round(times, 2),
                    "times_faster_than_fastest": round(fastest[0] / median, 2),
                    "fastest": fastest[1],
                    "ceiling": round(1 / fraction, 1),
                    "share_of_ceiling": round(fastest[0] / median * fraction, 3),
                }
            )
    return found


def draw(found: dict[str, Any], path: Path) -> None:
    """Latency of one query, time of a batch and recall against the number of items."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(13, 4.2), constrained_layout=True)
    names = list(dict.fromkeys(row["variant"] for size in found["sizes"] for row in size["search"]))
    for name in names:
        points = [
            (size["items"], row)
            for size in found["sizes"]
            for row in size["search"]
            if row["variant"] == name
        ]
        items = [point[0] for point in points]
        axes[0].loglog(items, [row["one_ms"]["p50"] for _, row in points], "o-", label=name)
        axes[1].loglog(items, [row["batch_ms"]["p50"] for _, row in points], "o-", label=name)
        axes[2].semilogx(items, [row["recall"] for _, row in points], "o-", label=name)
    axes[0].set(xlabel="items", ylabel="one query, ms (median)")
    axes[1].set(xlabel="items", ylabel=f"batch of {found['settings']['batch_size']}, ms (median)")
    axes[2].set(
        xlabel="items", ylabel=f"share of the exact top {found['settings']['k']} found", ylim=(0, 1.02)
    )
    axes[2].legend(frameon=False, fontsize=7)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure every size, one after the other, and write what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--settings", type=Path, default=HERE / "scale.yaml")
    parser.add_argument("--items", type=int, nargs="+")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--batch-repeats", type=int)
    parser.add_argument("--hnsw-items", type=int)
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    given = yaml.safe_load(asked.settings.read_text(encoding="utf-8"))
    for name in ("items", "threads", "repeats", "batch_repeats"):
        given[name] = getattr(asked, name) or given[name]
    if asked.hnsw_items is not None:
        given["hnsw"]["most_items"] = asked.hnsw_items
    found: dict[str, Any] = {"settings": given, "vectors": "planted, not learned", "sizes": []}
    with using_threads(given["threads"]), torch.inference_mode():
        for n_items in given["items"]:
            found["sizes"].append(measure(n_items, given))
            print(json.dumps(found["sizes"][-1], indent=1), flush=True)
    found |= {
        "machine": environment.machine("cpu"),
        "versions": environment.versions(),
        "commit": environment.commit(),
    }
    asked.results.mkdir(parents=True, exist_ok=True)
    (asked.results / "scale.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    draw(found, asked.results / "scale.png")


if __name__ == "__main__":
    main()
