"""Typed settings. The only place that reads string keys; everything below it sees attributes.

Every class forbids unknown keys; :func:`~recbole_hiersrec.reading.parse` says in one line what is wrong with a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from recbole_hiersrec.errors import InputError, nearest
from recbole_hiersrec.reading import Settings, parse

Metric = Literal["Recall", "MRR", "NDCG"]
METRICS: tuple[Metric, ...] = ("Recall", "MRR", "NDCG")

VALID_METRIC = r"^([Rr]ecall|[Mm][Rr][Rr]|[Nn][Dd][Cc][Gg]|[Hh]it|[Pp]recision|[Mm][Aa][Pp])@[1-9][0-9]*$"

Fraction = Annotated[float, Field(gt=0, le=1, strict=True)]
Probability = Annotated[float, Field(ge=0, lt=1)]
PositiveInt = Annotated[int, Field(ge=1, strict=True)]
Seed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]
NonNegative = Annotated[float, Field(ge=0)]
TestCases = Literal["every-prefix", "last-item"]
CandidateRuleName = Literal[
    "cells", "k-means", "mixed", "hnsw", "leaf-categories", "last-category", "co-visitation", "popularity"
]
"""The keys of `retrieval.needs.RULES`."""


def _each_once(value: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(value)) != len(value):
        raise ValueError(f"each entry once; received {list(value)}")
    return value


class HierSRecSettings(Settings):
    """HierSRec itself (arXiv 2309.06533). The keys are read from RecBole's flat configuration."""

    category_fields: tuple[str, ...] = Field(
        (),
        description="Columns of the .item file, coarse to fine: a token column is one level, a token_seq "
        "column two (its first entry, then the whole entry). Empty: no category task, an item-only model.",
    )
    title_field: str | None = Field(
        None, description="Text column of the .item file; BPE tokens, mean-pooled."
    )
    metadata_fields: tuple[str, ...] = Field((), description="Further token columns, one embedding each.")
    title_vocab_size: Annotated[int, Field(ge=50, le=100_000)] = Field(
        1000, description="Size of the BPE vocabulary trained on the catalogue's titles."
    )
    title_max_tokens: PositiveInt = Field(16, description="Title tokens kept per item.")
    use_item_id: bool = Field(True, description="False: items are their metadata alone, as in M2TRec.")
    hidden_size: PositiveInt = Field(64, description="Width D of states, item and category vectors.")
    n_layers: PositiveInt = Field(2, description="Transformer blocks.")
    n_heads: PositiveInt = Field(2, description="Attention heads; divides hidden_size.")
    inner_size: PositiveInt = Field(256, description="Width of the feed-forward layers.")
    hidden_dropout_prob: Probability = Field(0.5, description="Dropout on embeddings and block outputs.")
    attn_dropout_prob: Probability = Field(0.5, description="Dropout on attention weights.")
    metadata_dropout_prob: Probability = Field(
        0.0,
        description="Share of a training step's items that are their id alone, without category, title and metadata.",
    )
    initializer_range: Annotated[float, Field(gt=0)] = Field(0.02, description="Standard deviation at start.")
    category_task: bool = Field(
        True, description="False: categories are part of the item vectors and nothing is predicted of them."
    )
    category_vectors: bool = Field(
        True, description="False: categories are predicted and are no part of the item vectors."
    )
    category_feedback: Literal["soft", "hard", "none"] = Field(
        "soft",
        description="What a category prediction passes on to finer levels and to the item query: the "
        "expected category embedding, that of the likeliest category, or nothing (flat multi-task).",
    )
    category_loss_weight: NonNegative | tuple[NonNegative, ...] = Field(
        0.05, description="Weight of each level's cross-entropy: one number for all levels, or one a level."
    )
    category_score: Literal["joint", "detached", "none"] = Field(
        "detached",
        description="How the categories' scores enter the item score: with the gradients of the item task, without "
        "them (nor through what a prediction passes on: the item task learns what to make of both, and moves "
        "neither), or not at all (with category_feedback none: plain multi-task learning).",
    )
    category_encoder: Literal["shared", "separate"] = Field(
        "separate",
        description="Whether the category task has a Transformer of its own, which reads the item vectors and does "
        "not move them.",
    )
    repeat_term: Literal[True, False, "counted"] = Field(
        True,
        description="Add r(h) to the score of the items that the session already holds: learns from the session "
        "whether items come again. 'counted' looks at how often and how long ago each came, too.",
    )
    followers: Annotated[int, Field(ge=0, le=100)] = Field(
        20,
        description="How many of the items that most often came after an item in training are remembered; 0: none.",
    )
    follower_window: Annotated[int, Field(ge=1, le=20)] = Field(
        5, description="Steps after an item within which another counts as coming after it."
    )
    follower_items: Annotated[int, Field(ge=1, le=20)] = Field(
        5, description="How many of a session's last items the memory is asked about."
    )
    follower_fields: tuple[str, ...] = Field(
        (),
        description="Category levels or metadata fields that are remembered too: twice as many followers, for "
        "the last two items; they stand in where an item was rarely followed.",
    )
    follower_limit: Annotated[int, Field(ge=1, le=1000)] = Field(
        60, description="Most items of a session that get a bonus: those with the best odds."
    )
    loss: Literal["full", "sampled"] = Field(
        "full", description="Softmax over all items, or sampled with logQ."
    )
    n_negatives: PositiveInt = Field(1024, description="Shared negatives a batch when loss is 'sampled'.")
    negative_power: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="Negatives are drawn with probability proportional to count^power: 0 uniform."
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> HierSRecSettings:
        if self.hidden_size % self.n_heads:
            raise ValueError(
                f"n_heads must divide hidden_size; received {self.n_heads} and {self.hidden_size}"
            )
        return self

    @model_validator(mode="after")
    def _something_is_left(self) -> HierSRecSettings:
        if not (self.category_vectors or self.category_task):
            raise ValueError(
                "category_vectors and category_task: received false twice, which leaves categories unused; "
                "allowed: one of them, or category_fields: []"
            )
        if self.metadata_dropout_prob and not self.use_item_id:
            raise ValueError(
                f"metadata_dropout_prob must be 0 without item ids; received {self.metadata_dropout_prob}"
            )
        return self

    def loss_weights(self, n_levels: int) -> tuple[float, ...]:
        """One weight a level; raises :class:`InputError` if a list of another length was given."""
        weights = self.category_loss_weight
        if not isinstance(weights, tuple):
            return (float(weights),) * n_levels
        if len(weights) != n_levels:
            raise InputError(
                f"category_loss_weight: received {len(weights)} numbers, the model predicts {n_levels} levels"
            )
        return tuple(float(weight) for weight in weights)


Decay = Literal["none", "linear", "quadratic", "reciprocal"]
"""Weight of the x-th of l clicks: 1, x / l, (x / l)^2, 1 / (l - x + 1)."""


class NeighbourSettings(Settings):
    """What every session-kNN model has; SKNN has nothing else. Read from RecBole's flat configuration."""

    neighbours: PositiveInt = Field(
        100, description="k: training sessions that are asked, the most similar ones."
    )
    sample_size: PositiveInt = Field(
        1000,
        description="m: of the training sessions that share an item, so many of the latest are compared.",
    )

    @model_validator(mode="after")
    def _sampled_are_enough(self) -> NeighbourSettings:
        if self.neighbours > self.sample_size:
            raise ValueError(
                f"neighbours must be at most sample_size; received {self.neighbours} and {self.sample_size}"
            )
        return self


class VSKNNSettings(NeighbourSettings):
    """VSKNN: how clicks and neighbours are weighted. Published are linear decays; others did better in validation."""

    position_decay: Decay = Field(
        "reciprocal", description="Weight of the session's x-th of l clicks in the similarity."
    )
    match_decay: Decay = Field(
        "reciprocal",
        description="Weight of a neighbour by the last click that it shares with the session, the x-th of l.",
    )
    idf_weight: NonNegative = Field(
        0.0, description="w: an item in h of H training sessions counts 1 + w log(H / h) times; 0: once."
    )


class STANSettings(NeighbourSettings):
    """STAN: the scales of its three exponential decays; a very large one turns a decay off."""

    lambda1: Annotated[float, Field(gt=0)] = Field(
        1.0, description="Clicks before the session's last one after which a click counts 1 / e."
    )
    lambda2: Annotated[float, Field(gt=0)] = Field(
        100.0,
        description="Days between a session and its neighbour after which the neighbour counts 1 / e: small "
        "where items come and go, very large where nothing ages.",
    )
    lambda3: Annotated[float, Field(gt=0)] = Field(
        1.0, description="Clicks from a neighbour's last shared item after which its items count 1 / e."
    )


NEIGHBOUR_SETTINGS: Mapping[str, type[NeighbourSettings]] = {
    "SKNN": NeighbourSettings,
    "VSKNN": VSKNNSettings,
    "STAN": STANSettings,
}
"""Settings of each session-kNN model."""


class TrainingSettings(Settings):
    """RecBole's keys of training that a suite may set, checked before any job starts; None: RecBole's default."""

    learning_rate: Annotated[float, Field(gt=0)] | None = Field(None, description="Of the optimiser.")
    weight_decay: NonNegative | None = Field(
        None, description="Of the optimiser; above 0 item tables get dense gradients."
    )
    train_batch_size: PositiveInt | None = Field(
        None, description="Rows; with AllPositions and HierSRec a row has up to max_length targets."
    )
    eval_batch_size: PositiveInt | None = Field(
        None,
        description="Cases ranked at once, 256 where it is not given; changes speed and memory, no rank.",
    )
    eval_step: PositiveInt | None = Field(None, description="Epochs between validations.")
    learner: Literal["adam", "adamw", "sgd", "adagrad", "rmsprop", "sparse_adam"] | None = Field(
        None, description="The optimiser."
    )
    valid_metric: Annotated[str, Field(pattern=VALID_METRIC)] | None = Field(
        None, description="Metric of the validation part that says when to stop, and which epoch is kept."
    )
    weight_average: Probability | None = Field(
        None,
        description="Decay of a moving average of the weights, which is validated and kept in their place; models "
        "that learn at every position only. 0: none.",
    )
    pretrain_epochs: Annotated[int, Field(ge=0, strict=True)] | None = Field(
        None, description="S3Rec: epochs before it learns to predict the next item; 0: none."
    )
    precision: Literal["auto", "float32", "bfloat16"] | None = Field(
        None,
        description="Matrix products of training at every position; auto: bfloat16 where the processor has it.",
    )


class ProtocolSettings(Settings):
    """How a data set is split and ranked; one protocol a table."""

    split: Literal["leave-one-out", "temporal"] = Field(
        "leave-one-out",
        description="leave-one-out: the last interaction of a session is tested, the one before validated; "
        "temporal: whole sessions, as data preparation assigned them to the parts.",
    )
    test_cases: TestCases | None = Field(
        None,
        description="Temporal split: every-prefix (all targets of a validation or test session, the default) "
        "or last-item. Leave-one-out has none: there it is always the last item.",
    )
    history: Literal["unmasked", "masked"] = Field(
        "unmasked", description="Whether items already in the session are ranked (RecBole's rule: they are)."
    )
    max_length: Annotated[int, Field(ge=2)] = Field(
        50, description="Session items a model sees, the last ones."
    )
    catalogue_items: bool = Field(
        False, description="Whether items that occur only in the .item file belong to the item universe."
    )
    exact_time_order: bool = Field(
        True, description="Sort by the time stamps as written, before RecBole rounds them to float32."
    )

    @model_validator(mode="before")
    @classmethod
    def _every_prefix(cls, values: Any) -> Any:
        temporal = isinstance(values, Mapping) and values.get("split") == "temporal"
        return (
            {**values, "test_cases": "every-prefix"}
            if temporal and values.get("test_cases") is None
            else values
        )

    @model_validator(mode="after")
    def _last_item_is_tested(self) -> ProtocolSettings:
        if self.split == "leave-one-out" and self.test_cases is not None:
            raise ValueError(
                f"test_cases needs split temporal, leave-one-out tests the last item; received {self.test_cases}"
            )
        return self

    def label(self) -> str:
        """Short form for the protocol column of tables."""
        split = f"temporal split, {self.test_cases.replace('-', ' ')}" if self.test_cases else self.split
        parts = [split, f"history {self.history}", f"length {self.max_length}"]
        if self.catalogue_items:
            parts.append("catalogue items in")
        if not self.exact_time_order:
            parts.append("float32 time order")
        return ", ".join(parts)


class LimitSettings(Settings):
    """When training ends. Seconds are a safety stop: a job they stop is marked and not ranked."""

    epochs: PositiveInt = Field(200, description="Passes over the training part.")
    patience: PositiveInt = Field(10, description="Validations without improvement.")
    steps: PositiveInt = Field(100_000, description="Optimiser steps.")
    seconds: Annotated[float, Field(gt=0)] = Field(3600.0, description="Safety ceiling on training time.")


class CandidateSettings(Settings):
    """Candidate-item evaluation: which rules propose items, and how many are scored."""

    rules: tuple[CandidateRuleName, ...] = Field(
        ("cells",),
        min_length=1,
        description="cells: finest categories, cut by k-means; k-means: it alone; leaf-categories: whole ones, by "
        "predicted probability; last-category: that of the last item; co-visitation; popularity; hnsw; mixed: "
        "co-visitation and k-means.",
    )
    item_fractions: tuple[Fraction, ...] = Field(
        (0.01, 0.02, 0.04, 0.08),
        min_length=1,
        description="Most items that are scored for a session, as shares of all items; each is evaluated.",
    )
    list_size: PositiveInt | None = Field(
        None,
        description="Most items a list of cells, k-means, mixed or the exact search holds; None: a quarter of 1 % of "
        "the items, on small catalogues up to 10; in the exact search about the square root of their number.",
    )
    super_lists: Annotated[int, Field(ge=0, strict=True)] | None = Field(
        None,
        description="Clusters of lists that are compared first; 0: every centroid is compared; None: 0 where "
        "compared_fraction allows that or is too small for two levels, otherwise about the square root of the number "
        "of lists.",
    )
    compared_fraction: Fraction = Field(
        0.02,
        description="Centroids compared a query where there are super-lists, as a share of all items: a target, "
        "exceeded where a budget could not be filled otherwise. Too small for super-lists: every centroid is compared. "
        "ScannedFraction counts them all, and the record warns where it is above item_fraction + compared_fraction.",
    )
    mixed_share: Probability = Field(0.5, description="Share of mixed's budget that co-visitation fills.")
    exact: bool = Field(False, description="Also search all items exactly, with bounds; inner products only.")

    _unique = field_validator("item_fractions", "rules")(_each_once)


class SpeedSettings(Settings):
    """How long a query takes and how many a second are served."""

    k: PositiveInt = Field(20, description="Items returned.")
    batch_size: PositiveInt = Field(256, description="Queries a batch when throughput is measured.")
    repeats: PositiveInt = Field(30, description="Measured calls, after the warm-up.")
    warmup: Annotated[int, Field(ge=0)] = Field(5, description="Calls before those that are measured.")


class ModelEntry(Settings):
    """One line of a suite's `models:`."""

    model: str = Field(
        description="A model of this package, a sequential model of RecBole, or package.module:Class."
    )
    name: str | None = Field(None, description="Name in the tables; the model's own when absent.")
    settings: dict[str, Any] = Field(default_factory=dict, description="Passed to RecBole's Config.")
    candidates: bool | tuple[CandidateRuleName, ...] = Field(
        False,
        description="Also evaluate on candidates: true for all rules of the suite, or the names of some.",
    )
    tuned: str | dict[str, str] = Field(
        "",
        description="Settings that hiersrec tune export wrote, below those of the suite: a name in properties/model/, "
        "or the path of a YAML file; for all data sets, or one a data set.",
    )

    def tuned_on(self, dataset: str) -> str:
        """What ``tuned`` names for a data set; empty where it names nothing."""
        return self.tuned if isinstance(self.tuned, str) else self.tuned.get(dataset, "")


class DatasetEntry(Settings):
    """One line of a suite's `datasets:`."""

    name: str = Field(description="Of the folder in data_path, and of its files.")
    data_path: str = Field("dataset", description="Folder that holds the folder of this data set.")
    settings: dict[str, Any] = Field(default_factory=dict, description="Passed to RecBole's Config.")


class SuiteSettings(Settings):
    """A benchmark suite as its YAML file states it."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] = Field(
        description="Of the folders runs/NAME and results/NAME."
    )
    datasets: tuple[DatasetEntry, ...] = Field(
        min_length=1, description="A name alone is short for {name: NAME}."
    )
    models: tuple[ModelEntry, ...] = Field(
        min_length=1, description="A name alone is short for {model: NAME}."
    )
    reference: str | None = Field(
        None, description="Name of the model that all others are compared with; the first one when absent."
    )
    seeds: tuple[Seed, ...] = Field(
        (2026,), min_length=1, description="Every model runs once with each, on every data set."
    )
    protocol: ProtocolSettings = Field(ProtocolSettings(), description="How data are split and ranked.")
    limits: LimitSettings = Field(LimitSettings(), description="When training ends.")
    settings: dict[str, Any] = Field(default_factory=dict, description="Shared by all models (RecBole keys).")
    metrics: tuple[Metric, ...] = Field(METRICS, min_length=1, description="Of the tables.")
    ks: tuple[PositiveInt, ...] = Field(
        (5, 10, 20), min_length=1, description="Lengths of the lists that the metrics look at."
    )
    candidates: CandidateSettings = Field(
        CandidateSettings(), description="Of the models that are evaluated on candidates, too."
    )
    speed: SpeedSettings = Field(SpeedSettings(), description="How latency and throughput are measured.")
    threads: Annotated[int, Field(ge=1, le=256, strict=True)] = Field(
        2, description="Threads of torch and of OpenMP, in every job."
    )

    @field_validator("datasets", "models", mode="before")
    @classmethod
    def _short_form(cls, value: Any, info: Any) -> Any:
        """`- SASRec` is short for `- {model: SASRec}`."""
        key = "name" if info.field_name == "datasets" else "model"
        if isinstance(value, list | tuple):
            return [{key: entry} if isinstance(entry, str) else entry for entry in value]
        return value

    _unique = field_validator("ks", "metrics")(_each_once)

    @model_validator(mode="after")
    def _reference_is_a_model(self) -> SuiteSettings:
        names = [entry.name or entry.model for entry in self.models]
        if self.reference is not None and self.reference not in names:
            raise ValueError(
                f"reference must be one of the models {', '.join(names)}; received {self.reference}"
            )
        return self

    @model_validator(mode="after")
    def _tuned_on_data_sets(self) -> SuiteSettings:
        names = [entry.name for entry in self.datasets]
        for entry in self.models:
            for name in entry.tuned if isinstance(entry.tuned, dict) else ():
                if name not in names:
                    raise ValueError(
                        f"models: {entry.name or entry.model}: tuned: received data set {name}"
                        f"{nearest(name, names)}, allowed: {', '.join(names)}"
                    )
        return self

    def candidates_of(self, model: ModelEntry) -> CandidateSettings | None:
        """What the model is evaluated on beside all items; None: nothing."""
        if not model.candidates:
            return None
        rules = self.candidates.rules if model.candidates is True else model.candidates
        return self.candidates.model_copy(update={"rules": rules})

    @model_validator(mode="after")
    def _unique_names(self) -> SuiteSettings:
        for what, names in (
            ("datasets", [entry.name for entry in self.datasets]),
            ("models", [entry.name or entry.model for entry in self.models]),
            ("seeds", [str(seed) for seed in self.seeds]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                hint = "; give each its own name" if what == "models" else ""
                raise ValueError(f"{what}: {', '.join(twice)} stands more than once{hint}")
        return self


def hiersrec_settings(values: Mapping[str, Any], where: str) -> HierSRecSettings:
    """Pick HierSRec's own keys out of RecBole's flat configuration and check them.

    Raises:
        InputError: a value is not allowed; the line begins with ``where``.
    """
    own = {key: values[key] for key in HierSRecSettings.model_fields if values.get(key) is not None}
    for key in ("category_fields", "metadata_fields", "follower_fields"):
        if isinstance(own.get(key), str):
            own[key] = [own[key]]
    return parse(HierSRecSettings, own, where)


def neighbour_settings(values: Mapping[str, Any], model: str, where: str) -> Any:
    """Pick the keys of a session-kNN model out of RecBole's flat configuration and check them.

    Returns:
        The model's class of :data:`NEIGHBOUR_SETTINGS`.

    Raises:
        InputError: a value is not allowed; the line begins with ``where``.
    """
    cls = NEIGHBOUR_SETTINGS[model]
    return parse(cls, {key: values[key] for key in cls.model_fields if values.get(key) is not None}, where)


def training_settings(values: Mapping[str, Any], where: str) -> TrainingSettings:
    """Pick the keys of training out of RecBole's flat configuration and check them.

    Raises:
        InputError: a value is not allowed; the line begins with ``where``.
    """
    own = {key: values[key] for key in TrainingSettings.model_fields if values.get(key) is not None}
    return parse(TrainingSettings, own, where)
