"""How faithful a trained model's explanations are: what they name is dropped, and something else for comparison.

    python benchmarks/faithfulness.py runs/NAME/jobs/KEY/model --cases 2000

Nothing is trained. The measures are those of recbole_hiersrec.evaluation.faithfulness, over test cases drawn at
random by session; --out FILE writes them as JSON, with the machine and the versions beside them.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_hiersrec import register
from recbole_hiersrec.benchmark import environment


def measure(checkpoint: Path, n_cases: int, seed: int) -> dict[str, Any]:
    """Measures on at most ``n_cases`` test cases of whole sessions."""
    from recbole_hiersrec.evaluation.faithfulness import faithfulness
    from recbole_hiersrec.scoring import scorer_of
    from recbole_hiersrec.settings import hiersrec_settings
    from recbole_hiersrec.training import load_data_and_model

    config, model, _, _, _, test = load_data_and_model(checkpoint)
    part = test._dataset
    sessions = part.inter_feat[part.uid_field].numpy()
    rows = some_sessions(sessions, n_cases, seed)
    part.inter_feat = part.inter_feat[torch.from_numpy(rows)]
    found = faithfulness(model.eval(), scorer_of(model, part), sessions[rows], seed=seed)  # type: ignore[arg-type]
    return {
        "dataset": config["dataset"],
        "cases": len(rows),
        "sessions": len(np.unique(sessions[rows])),
        "seed": seed,
        "model": {
            "device": str(config["device"]),
            "seed": config["seed"],
            "settings": hiersrec_settings(config.final_config_dict, str(checkpoint)).model_dump(),
        },
        "measures": [asdict(one) for one in found],
    }


def some_sessions(sessions: np.ndarray, n_cases: int, seed: int) -> np.ndarray:
    """Rows of randomly chosen whole sessions, ascending: as many sessions as fit into ``n_cases``, at least one."""
    names, number = np.unique(sessions, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(names))
    sizes = np.bincount(number)[order]
    n_chosen = max(1, int((sizes.cumsum() <= n_cases).sum()))
    return np.flatnonzero(np.isin(number, order[:n_chosen]))


def main() -> None:
    """Parse the command line, measure, print, and write the result if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="folder of a checkpoint")
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    register()
    found = measure(given.checkpoint, given.cases, given.seed)
    print(f"{found['dataset']}: {found['cases']} test cases of {found['sessions']} sessions; places lost")
    for one in found["measures"]:
        lost = one["difference"]
        print(
            f"{one['measure']:9} named {one['named']['mean']:8.2f}  other {one['other']['mean']:8.2f}  "
            f"difference {lost['mean']:8.2f} ({lost['low']:.2f} to {lost['high']:.2f}), p {lost['p_value']:.4f}; "
            f"at least as many in {100 * one['at_least']['mean']:.1f} % of the cases"
        )
    if given.out:
        facts = {
            "machine": environment.machine(found["model"]["device"]),
            "versions": environment.versions(),
            "commit": environment.commit(),
        }
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps({**found, **facts}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
