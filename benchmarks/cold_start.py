"""How well items are recommended that training never saw: HierSRec, the same model on ids alone, random order.

    python benchmarks/cold_start.py amazon-beauty --data-path dataset --threads 2

A share of the items is held out of all that is trained or validated on (see recbole_hiersrec.evaluation.cold). The
result goes to results/cold_start/NAME.json, with the machine and the versions beside it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from recbole_hiersrec import register
from recbole_hiersrec.benchmark import environment
from recbole_hiersrec.benchmark.suite import Job, expand
from recbole_hiersrec.data.files import atomic_files
from recbole_hiersrec.evaluation.cold import cold_recall, forget_unseen, hold_out, is_temporal
from recbole_hiersrec.reading import parse
from recbole_hiersrec.settings import SuiteSettings

RESULTS = Path(__file__).resolve().parents[1] / "results" / "cold_start"
IDS_ALONE: dict[str, Any] = {
    "category_fields": [],
    "title_field": None,
    "metadata_fields": [],
    "follower_fields": [],
}


def jobs_of(given: argparse.Namespace, data_path: Path) -> list[Job]:
    """HierSRec and the same on ids alone, on the copy without the held-out items."""
    temporal = is_temporal(atomic_files(given.dataset, data_path))
    suite = {
        "name": "cold-start",
        "datasets": [{"name": given.dataset, "data_path": str(data_path)}],
        "models": [
            {"model": "HierSRec"},
            {"model": "HierSRec", "name": "HierSRec, ids alone", "settings": IDS_ALONE},
        ],
        "seeds": [given.seed],
        "protocol": {
            "split": "temporal" if temporal else "leave-one-out",
            "history": given.history,
            "catalogue_items": True,  # held-out items that are no test target stay in the universe, too
        },
        "limits": {"epochs": given.epochs, "patience": given.patience},
        "settings": dict(yaml.safe_load(f"{key}: {value}").popitem() for key, value in given.set),
        "threads": given.threads,
        "ks": given.ks,
        "speed": {"k": 1},
    }
    return expand(parse(SuiteSettings, suite, "cold_start"))


def run(job: Job, held: set[str], given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train one model and measure it on the cases with a held-out target."""
    from recbole_hiersrec.benchmark.prepare import prepare
    from recbole_hiersrec.data.dataset import item_counts_of
    from recbole_hiersrec.names import load_model_class
    from recbole_hiersrec.scoring import cases_of, scorer_of, tokens_of
    from recbole_hiersrec.training import HierSRecTrainer

    model_class = load_model_class(job.model)
    data = prepare(job, model_class, folder)
    train, part = data.train._dataset, data.test._dataset
    model = model_class(data.config, train).to(data.config["device"])
    trainer = HierSRecTrainer(data.config, model)
    trainer.fit(data.train, data.valid, saved=False)
    counts = item_counts_of(train)
    forget_unseen(model.network, counts)
    tokens = tokens_of(part)
    ids = np.array([number for number, token in enumerate(tokens) if token in held])
    if int(counts[torch.from_numpy(ids)].sum()):
        raise SystemExit("a held-out item was trained on")
    found = cold_recall(
        scorer_of(model, part),  # type: ignore[arg-type]
        cases_of(part),
        part.inter_feat[part.uid_field].numpy(),
        ids,
        history=given.history,
        ks=given.ks,
        item_fraction=given.item_fraction,
        seed=given.seed,
    )
    targets = part.inter_feat[part.iid_field].numpy()
    return {
        "model": job.name,
        "settings": job.settings,
        "items": len(tokens) - 1,
        "held_out": len(ids),
        "cases": int(np.isin(targets, ids).sum()),
        "best_valid": trainer.report.best_valid,
        "epochs": trainer.report.epochs,
        "device": str(data.config["device"]),
        "recall": [asdict(one) for one in found],
    }


def main() -> None:
    """Parse the command line, hold items out, train and measure both models, write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", help="name of a prepared data set")
    parser.add_argument("--data-path", default="dataset", help="folder that holds the data set's folder")
    parser.add_argument("--share", type=float, default=0.05, help="of the items that is held out")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--patience", type=int, default=10)
    parser.add_argument("--history", choices=("unmasked", "masked"), default="unmasked")
    parser.add_argument("--item-fraction", type=float, default=0.04, help="of the candidates")
    parser.add_argument("--ks", type=int, nargs="+", default=[10, 20])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", nargs=2, action="append", default=[], metavar=("KEY", "VALUE"))
    parser.add_argument("--out", type=Path, help="results/cold_start/NAME.json when absent")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    register()
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "dataset"
        held = hold_out(given.dataset, given.data_path, copy, share=given.share, seed=given.seed)
        models = [run(job, held, given, Path(temporary) / "training") for job in jobs_of(given, copy)]
    for model in models:
        for one in model["recall"]:
            value = one["recall"]
            print(
                f"{model['model']:22} {one['variant']:20} Recall@{one['k']:<3} "
                f"{value['mean']:.4f} ({value['low']:.4f} to {value['high']:.4f})"
            )
    asked = {key: value for key, value in vars(given).items() if key not in ("data_path", "out")}
    facts = {
        "machine": environment.machine(models[0]["device"]),
        "versions": environment.versions(),
        "commit": environment.commit(),
    }
    out = given.out or RESULTS / f"{given.dataset}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({**asked, "models": models, **facts}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
