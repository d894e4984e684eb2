"""What a job runs on: RecBole's configuration, and the data as RecBole splits it, the same for all models."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import init_seed

from recbole_hiersrec.benchmark.suite import Job, reason_to_skip
from recbole_hiersrec.data.dataset import HierSRecDataset
from recbole_hiersrec.data.files import atomic_files, read_columns
from recbole_hiersrec.data.manifest import read_manifest
from recbole_hiersrec.data.sessions import read_sessions
from recbole_hiersrec.errors import HierSRecError, InputError, SkippedError
from recbole_hiersrec.evaluation.scorer import universe_fingerprint
from recbole_hiersrec.names import recbole_folder
from recbole_hiersrec.reading import parse, read_yaml
from recbole_hiersrec.scoring import cases_of, tokens_of
from recbole_hiersrec.settings import ProtocolSettings
from recbole_hiersrec.training import way_of


@dataclass(frozen=True)
class Prepared:
    """Configuration and the three parts of a data set, as RecBole built them.

    Attributes:
        session_sizes: interactions of each session, int64, by RecBole's id; None where the files hold ready-made rows,
            whose histories are as long as they are.
    """

    config: Any
    train: Any
    valid: Any
    test: Any
    session_sizes: np.ndarray | None


class Closed:
    """Stands where the test part would: settings are chosen, and models trained, without it."""

    def __getattr__(self, name: str) -> Any:
        raise HierSRecError(
            f"the test part is closed while settings are chosen or a model is trained (received .{name})"
        )


def prepare(job: Job, model_class: type[Any], checkpoints: Path) -> Prepared:
    """Make RecBole's configuration and data for a job; the item universe and the cases are the same for all models.

    Raises:
        SkippedError: the model cannot use the data set or its split.
        InputError: there are no cases, or other items than those of the protocol.
    """
    reason = reason_to_skip(job, *(base.__name__ for base in model_class.__mro__))
    if reason:
        raise SkippedError(reason)
    config = Config(
        model=model_class, dataset=job.dataset, config_dict=_config_dict(job, model_class, checkpoints)
    )
    init_seed(config["seed"], config["reproducibility"])
    prefixes = way_of(model_class) == "prefix rows"
    dataset = create_dataset(config) if prefixes else HierSRecDataset(config)
    check_universe(job, config, dataset)
    sizes = _session_sizes(dataset)
    train, valid, test = data_preparation(config, dataset)
    for name, part in (("validation", valid), ("test", test)):
        if len(part._dataset) == 0:
            raise InputError(
                f"data set '{job.dataset}' has no {name} case; leave-one-out needs sessions of 4 or more"
            )
    init_seed(config["seed"], config["reproducibility"])
    return Prepared(config, train, valid, test, sizes)


def _session_sizes(dataset: Any) -> np.ndarray | None:
    """See :class:`Prepared`; of a data set that still holds its log, before its rows are made."""
    if dataset.benchmark_filename_list is not None:
        return None
    return np.bincount(dataset.inter_feat[dataset.uid_field], minlength=dataset.user_num)


def _config_dict(job: Job, model_class: type[Any], checkpoints: Path) -> dict[str, Any]:
    protocol = protocol_of(job)
    values: dict[str, Any] = {
        "valid_metric": "NDCG@10",
        **job.settings,
        "seed": job.seed,
        "data_path": job.data_path,
        "checkpoint_dir": str(checkpoints),
        "epochs": job.limits["epochs"],
        "stopping_step": job.limits["patience"],
        "max_steps": job.limits["steps"],
        "max_seconds": job.limits["seconds"],
        "MAX_ITEM_LIST_LENGTH": protocol.max_length,
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full", "group_by": "user"},
        "prepared_split": protocol.test_cases,
        "history": protocol.history,
        "exact_time_order": protocol.exact_time_order,
        "catalogue_items": protocol.catalogue_items,
        "metrics": ["Recall", "MRR", "NDCG"],
        "topk": list(job.ks),
        "show_progress": False,
    }
    negatives = _needs_negatives(model_class, values)
    if "train_neg_sample_args" not in values and not negatives:
        values["train_neg_sample_args"] = None
    if negatives and values.get("train_neg_sample_args", {}) is None:
        raise InputError(
            f"settings of {job.name}: train_neg_sample_args: received null, but its loss needs negatives that RecBole "
            "draws; leave the key out, or set loss_type: CE where the model has that"
        )
    item = values.get("ITEM_ID_FIELD", "item_id")
    attribute = _recbole_default(model_class, values, "item_attribute")
    features = _recbole_default(model_class, values, "selected_features") or (
        [attribute] if attribute else []
    )
    if protocol.catalogue_items or features:
        values["load_col"] = {"inter": "*", "item": [item, *features]} | (values.get("load_col") or {})
        # Otherwise RecBole drops the interactions of items that have no row in the .item file.
        values.setdefault("filter_inter_by_user_or_item", False)
    return values


def check_universe(job: Job, config: Any, dataset: Any) -> None:
    """Refuse items that only the .item file knows, unless the protocol has them.

    Models that read item features make RecBole load that file; ``catalogue_items: false`` leaves those items out, but
    a data set class of the user's own may not.

    Raises:
        InputError: the data set has more items than the interactions.
    """
    if protocol_of(job).catalogue_items:
        return
    field, separator = config["ITEM_ID_FIELD"], config["field_separator"]
    path = atomic_files(job.dataset, job.data_path, separator)["inter"]
    interacted = read_columns(path, [field], separator)[field].n_unique()
    if dataset.item_num - 1 > interacted:
        raise InputError(
            f"model '{job.name}' makes RecBole load {dataset.item_num - 1} items, {interacted} of them with "
            "interactions; set protocol: catalogue_items: true for all models, or leave this model out"
        )


def _needs_negatives(model_class: type[Any], values: dict[str, Any]) -> bool:
    """Whether RecBole's sampler must draw negatives: not for a softmax over all items."""
    declared = getattr(model_class, "input_type", None)
    if not model_class.__module__.startswith("recbole."):
        return declared is not None and declared.name == "PAIRWISE"
    loss = _recbole_default(model_class, values, "loss_type")
    return loss not in ("CE", "NLL")  # none at all: DIN, DIEN and TransRec learn from pairs or labels


def _recbole_default(model_class: type[Any], values: dict[str, Any], key: str) -> Any:
    """What the job says of ``key``, or RecBole's default file of the model (or of the model it derives from)."""
    if values.get(key) is not None:
        return values[key]
    for base in model_class.__mro__:
        path = recbole_folder() / "properties" / "model" / f"{base.__name__}.yaml"
        if base.__module__.startswith("recbole.") and path.is_file():
            return read_yaml(path).get(key)
    return None


def protocol_of(job: Job) -> ProtocolSettings:
    """The job's protocol, typed."""
    return parse(ProtocolSettings, job.protocol, "protocol")


def describe(data: Prepared) -> dict[str, Any]:
    """Facts of the data set, with the hashes that decide which jobs may stand in one table."""
    train, valid, test = (part._dataset for part in (data.train, data.valid, data.test))
    tokens = tokens_of(test)
    cases = cases_of(test)
    catalogue = getattr(test, "catalogue", None)
    taxonomy = catalogue.taxonomy if catalogue else None
    lengths = train.inter_feat[train.item_list_length_field]
    every = isinstance(train, HierSRecDataset)
    return {
        "n_items": len(tokens) - 1,
        "n_sessions": n_sessions(train, valid, test),
        "n_test_sessions": n_sessions(test),
        "n_train_rows": len(train),
        "n_train_targets": int(lengths.sum()) if every else len(train),
        "n_valid": len(valid),
        "n_test": len(test),
        "universe": universe_fingerprint(tokens),
        "cases": cases.fingerprint(tokens),
        "shortest_history": int(cases.length.min()),
        "longest_history": int(cases.length.max()),
        "levels": [
            {"name": name, "categories": size}
            for name, size in zip(taxonomy.levels, taxonomy.sizes, strict=True)
        ]
        if taxonomy
        else [],
        "leakage": leakage(data.config),
    }


def n_sessions(*parts: Any) -> int:
    """Number of different sessions that have a case in one of the parts."""
    return len(np.unique(np.concatenate([part.inter_feat[part.uid_field].numpy() for part in parts])))


def leakage(config: Any) -> dict[str, Any]:
    """Training interactions after the earliest test interaction, counted in the files, as plain values.

    Times that preparation made up, because the log has an order and no stamps, count as none.
    """
    folder, name = Path(config["data_path"]), config["dataset"]
    suffixes = ("inter", "user") if config["prepared_split"] else ("inter",)
    manifest = read_manifest(folder)
    stamped = manifest is None or manifest["time"] != "order"
    sessions = read_sessions(
        {suffix: folder / f"{name}.{suffix}" for suffix in suffixes},
        user=config["USER_ID_FIELD"],
        item=config["ITEM_ID_FIELD"],
        when=config["TIME_FIELD"] if stamped else None,
        separator=config["field_separator"],
    )
    return asdict(sessions.leakage())
