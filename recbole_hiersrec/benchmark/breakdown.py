"""What a job says beyond overall accuracy: accuracy by slices of the test cases, and what its lists are like.

Axes: n test cases, N items (ids 1..N, 0 is PAD).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from recbole_hiersrec import resources
from recbole_hiersrec.benchmark.prepare import Prepared
from recbole_hiersrec.benchmark.suite import Job, headline
from recbole_hiersrec.data.files import folder_settings, header
from recbole_hiersrec.evaluation import slices
from recbole_hiersrec.evaluation.beyond_accuracy import MEASURES
from recbole_hiersrec.evaluation.metrics import METRICS
from recbole_hiersrec.evaluation.ranks import RankTable
from recbole_hiersrec.reading import read_yaml
from recbole_hiersrec.scoring import cases_of, item_file, read_taxonomy, training_counts

EVERYTHING = {"variant": "all items", "candidate_rule": "", "item_fraction": None}


@dataclass(frozen=True)
class CaseFacts:
    """What is known of the test cases, whatever the model.

    Attributes:
        arrays: one value a case, as ranks.npz keeps them (see :mod:`recbole_hiersrec.benchmark.rankfiles`).
        borders: of the head and the tail of the items.
        level: the category level that cases are sliced by; "" without categories.
        categories: names of the categories that have a slice of their own.
    """

    arrays: dict[str, np.ndarray]
    borders: slices.PopularityBorders
    level: str = ""
    categories: tuple[str, ...] = ()

    def section(self) -> dict[str, Any]:
        """For the record: what the arrays mean."""
        return {
            "popularity": asdict(self.borders),
            "category": {"level": self.level, "names": list(self.categories)},
        }

    def slicings(self) -> list[slices.Slicing]:
        """Every way to slice the cases that there is."""
        found = [
            slices.by_length(self.arrays["length"]),
            slices.by_popularity(self.arrays["target popularity"], self.borders),
            slices.by_repeat(self.arrays["repeated"]),
        ]
        if self.level:
            found.append(slices.by_category(self.arrays["category"], self.categories))
        return found


def case_facts(job: Job, data: Prepared) -> CaseFacts:
    """Attributes of the test cases.

    Raises:
        InputError: an item has two rows in the .item file, and its categories are asked for.
    """
    part = data.test._dataset
    cases, counts = cases_of(part), training_counts(data.train._dataset)
    target, session = cases.target.numpy(), part.inter_feat[part.uid_field].numpy()
    arrays = {
        "target": target,
        "session": session,
        "length": cases.length.numpy()
        if data.session_sizes is None
        else slices.history_lengths(session, data.session_sizes),
        "target popularity": counts[target],
        "repeated": (cases.history == cases.target[:, None]).any(1).numpy(),
    }
    borders = slices.popularity_borders(counts[1:])
    coarsest = _coarsest_level(job, part)
    if coarsest is None:
        return CaseFacts(arrays, borders)
    level, item_category, labels = coarsest
    arrays["category"], names = slices.largest_categories(item_category[target], labels)
    return CaseFacts(arrays, borders, level, names)


def list_lengths(job: Job) -> list[int]:
    """The ks at which lists are described: that of the headline metric, and the largest."""
    return sorted({headline(job.metrics, job.ks)[1], max(job.ks)})


def slice_rows(job: Job, ranks: np.ndarray, facts: CaseFacts) -> list[dict[str, Any]]:
    """Rows of accuracy.csv: the headline metric at every k, in every slice that has cases, among all items.

    Args:
        job: whose metrics and ks they are.
        ranks: float64 [n], of the targets among all items.
        facts: of the same cases.
    """
    metric, _ = headline(job.metrics, job.ks)
    return [
        EVERYTHING | {"slice": name, "metric": metric, "k": k, "value": value, "n_cases": n}
        for slicing in facts.slicings()
        for k in job.ks
        for name, value, n in slicing.means(METRICS[metric](ranks, k))
    ]


def list_rows(ranks: RankTable, training: np.ndarray) -> list[dict[str, Any]]:
    """Rows of accuracy.csv: coverage, Gini coefficient and novelty of the lists of best items.

    Args:
        ranks: with the lists that were counted.
        training: int64 [N + 1], training interactions of each item.
    """
    return [
        EVERYTHING
        | {
            "slice": "all",
            "metric": metric,
            "k": k,
            "value": measure(counts[1:], training[1:]),
            "n_cases": len(ranks.all),
        }
        for k, counts in ranks.recommended.items()
        for metric, measure in MEASURES.items()
    ]


def _coarsest_level(job: Job, dataset: Any) -> tuple[str, np.ndarray, Sequence[str]] | None:
    """Name, category of each item [N + 1] and names of the categories of the first level that has two categories.

    The levels are those of the data set, so that models which use others, or none, are sliced alike; where it has none,
    those of the job.
    """
    path = item_file(dataset)
    if not path.is_file():
        return None
    columns = dict(header(path, dataset.config["field_separator"]))
    defaults = resources.dataset_defaults(job.dataset)
    of_data = (read_yaml(defaults) if defaults.is_file() else {}) | folder_settings(
        job.dataset, job.data_path
    )
    for settings in (of_data, job.settings):
        named = settings.get("category_fields") or ()
        names = [named] if isinstance(named, str) else named
        fields = [name for name in names if columns.get(name) in ("token", "token_seq")]
        if fields:
            taxonomy = read_taxonomy(dataset, fields)
            for level, size in enumerate(taxonomy.sizes):
                if size > 1:
                    labels = [label[-1] for label in taxonomy.labels[level]]
                    return taxonomy.levels[level], taxonomy.item_category[:, level], labels
    return None
