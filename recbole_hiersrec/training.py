"""RecBole's trainer with limits that are counted, validation on our ranks, and checkpoints that are safe to load."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from recbole.data import create_dataset, data_preparation
from recbole.trainer import Trainer
from recbole.utils import get_model, init_seed
from tqdm import tqdm

from recbole_hiersrec import checkpoint, compat
from recbole_hiersrec.averaging import WeightAverage
from recbole_hiersrec.data.batches import LengthBuckets
from recbole_hiersrec.encoding import adam_at_once, cheap_dropout, little_padding
from recbole_hiersrec.errors import CheckpointError, InputError
from recbole_hiersrec.evaluation.metrics import METRICS
from recbole_hiersrec.evaluation.ranks import BATCH_ROWS, rank_cases
from recbole_hiersrec.optim import TablesAdam, tables_of
from recbole_hiersrec.resuming import (
    FAULTS,
    TrainingState,
    order_of,
    random_state,
    set_order,
    set_random_state,
)
from recbole_hiersrec.scoring import cases_of, scorer_of, tokens_of
from recbole_hiersrec.serving.content import Serving
from recbole_hiersrec.settings import training_settings

BAR = "{desc} |{bar:8}| {percentage:3.0f}% {elapsed}<{remaining}{postfix}"
"""The time left is that until the limits; patience may end the training earlier."""


@dataclass
class TrainingReport:
    """How a training went.

    Attributes:
        seconds: wall-clock time of :meth:`HierSRecTrainer.fit`, validation included.
        epochs: epochs begun.
        steps: optimiser steps taken.
        best_epoch: epoch (from 1) whose parameters were kept; 0 when none was validated.
        stopped_by: "patience", "epochs", "steps", "seconds", or "counted" for models that only count.
        precision: of the matrix products of training, "float32" or "bfloat16".
        valid_metric: name of the validation metric, such as NDCG@10.
        best_valid: its best value; None when there was no validation.
        curve: per validation: epoch, seconds so far, mean training loss, validation value.
    """

    seconds: float = 0.0
    epochs: int = 0
    steps: int = 0
    best_epoch: int = 0
    stopped_by: str = ""
    precision: str = "float32"
    valid_metric: str = ""
    best_valid: float | None = None
    curve: list[dict[str, float | None]] = field(default_factory=list)


class HierSRecTrainer(Trainer):
    """Trains any sequential model of RecBole.

    RecBole's optimiser step is used as it is. Different are: training ends after so many epochs, validations without
    improvement (``stopping_step``) or optimiser steps (``max_steps``), and, as a safety stop, after ``max_seconds``;
    the validation metric is computed from our ranks and never rounded; only a better value counts as an improvement;
    a checkpoint is a folder without pickled objects.
    """

    def __init__(self, config: Any, model: Any) -> None:
        super().__init__(config, model)
        cheap_dropout(model)
        self.saved_model_file: str = str(Path(self.saved_model_file).parent)
        self.max_steps = config["max_steps"] or math.inf
        self.max_seconds = config["max_seconds"] or math.inf
        self.report = TrainingReport(valid_metric=config["valid_metric"])
        own = training_settings({key: config[key] for key in ("precision", "weight_average")}, "training")
        positions = way_of(model) == "every position"
        self.precision = precision_of(own.precision or "auto", self.device) if positions else torch.float32
        self.report.precision = str(self.precision).removeprefix("torch.")
        self.decay = own.weight_average if positions else None
        self.pretraining: TrainingReport | None = None  # of a stage before this one
        self.recboles = True  # whether fit also returns RecBole's own validation metrics
        self.average: WeightAverage | None = None
        self.kept: TrainingState | None = None  # where the training goes on from, and what it leaves for that
        self.built = 0.0  # seconds that making the model took
        self.seconds_before = 0.0  # of training in attempts that were killed
        self._began = 0.0
        self._best_state: dict[str, torch.Tensor] = {}

    def fit(
        self,
        train_data: Any,
        valid_data: Any = None,
        verbose: bool = True,
        saved: bool = True,
        show_progress: bool = False,
        callback_fn: Callable[[int, float], object] | None = None,
    ) -> tuple[float, Any]:
        """Train, keep the best epoch, and leave its parameters in the model.

        Args:
            train_data: RecBole's training loader.
            valid_data: RecBole's validation loader; without one the last epoch is kept.
            verbose: log a line an epoch.
            saved: write a checkpoint folder (``saved_model_file``) at each improvement.
            show_progress: show one progress bar for the whole training.
            callback_fn: called after each validation with (epoch from 0, validation value).

        Returns:
            (best validation value, RecBole's validation metrics of the best epoch); (-1, None) without validation.

        Raises:
            ValueError: the training loss became NaN or infinite.
        """
        self.dataset = train_data._dataset
        self.eval_collector.data_collect(train_data)
        if self.config["train_neg_sample_args"].get("dynamic", False):
            train_data.get_model(self.model)
        self._began = time.perf_counter()
        if way_of(self.model) == "counted":
            self.report.stopped_by = "counted"
        else:
            self._epochs(train_data, valid_data, verbose, saved, show_progress, callback_fn)
        if self.average is not None and valid_data is None:
            self.average.keep()
        if self._best_state:
            self.model.load_state_dict(self._best_state)
        elif saved:
            self._save_checkpoint(self.report.epochs, verbose=verbose)
        self.report.seconds = time.perf_counter() - self._began
        if valid_data is None:
            return -1, None
        # Ours is the metric that decides; RecBole's own take as long as all the rest of a short validation.
        self.best_valid_result = self.evaluate(valid_data, load_best_model=False) if self.recboles else {}
        if self.report.best_valid is None:
            self.report.best_valid = self.validate(valid_data)
        self.best_valid_score = self.report.best_valid
        return self.best_valid_score, self.best_valid_result

    def _epochs(
        self,
        train_data: Any,
        valid_data: Any,
        verbose: bool,
        saved: bool,
        show_progress: bool,
        callback_fn: Callable[[int, float], object] | None,
    ) -> None:
        """Run epochs until a limit is reached; fills the report and the best state."""
        train_data = batches_of(self.model, train_data, self.config)
        if way_of(self.model) == "every position" and self.decay:
            self.average = WeightAverage(self.model, self.decay)
        self._go_on(train_data)
        report = self.report
        total = min(self.epochs * len(train_data), self.max_steps)
        with tqdm(
            total=total, initial=report.steps, disable=not show_progress, dynamic_ncols=True, bar_format=BAR
        ) as bar:
            while not report.stopped_by:
                bar.set_description_str(f"epoch {report.epochs + 1}/{self.epochs}")
                batches = _LimitedBatches(train_data, self, bar)
                losses = self._train_epoch(batches, report.epochs, self._loss)
                report.epochs += 1
                summed = sum(losses) if isinstance(losses, tuple) else losses
                loss = None if summed is None else summed / batches.taken  # None: the clock allowed no batch
                if valid_data is not None and (report.epochs % self.eval_step == 0 or self._limit()):
                    with self.average.applied() if self.average else nullcontext():
                        self._validated(valid_data, loss, verbose, saved, callback_fn)
                bar.set_postfix_str(self._progress(loss))
                # What the clock cut short is never a result, whatever the validation after it says.
                report.stopped_by = (
                    "seconds" if batches.cut_by == "seconds" else report.stopped_by or self._limit()
                )
                self._keep(train_data)

    def _keep(self, train_data: Any) -> None:
        """Keep what the training can go on from, if it is time; what that takes is no time of training."""
        if self.kept is None or not self.kept.due(ended=bool(self.report.stopped_by)):
            return
        began = time.perf_counter()
        try:
            self.kept.save(self._state(train_data))
        except FAULTS as error:  # a full disk does not end a training: what was kept before is still there
            self.logger.warning(f"the state of the training could not be kept: {error}")
        self._began += time.perf_counter() - began

    def _state(self, train_data: Any) -> dict[str, Any]:
        """All that the epochs to come depend on."""
        return {
            "report": asdict(self.report),
            "seconds": time.perf_counter() - self._began,
            "cur_step": self.cur_step,
            "model": self.model.state_dict(),
            "best": self._best_state,
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state() if self.average else None,
            "random": random_state(),
            "order": order_of(train_data),
        }

    def _go_on(self, train_data: Any) -> None:
        """Take up the training where an earlier attempt left it, if there was one; to the bit."""
        state = self.kept.load() if self.kept is not None else None
        if state is None:
            return
        self.report = TrainingReport(**state["report"])
        self.seconds_before += state["seconds"]
        self._began = time.perf_counter() - state["seconds"]
        self.cur_step = state["cur_step"]
        self.model.load_state_dict(state["model"])
        self._best_state = state["best"]
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load(state["average"])
        set_order(train_data, state["order"])
        set_random_state(state["random"])
        self.logger.info(f"going on after epoch {self.report.epochs}")

    def _build_optimizer(self, **kwargs: Any) -> Any:
        """RecBole's, and for models with sparse gradients its Adam with lazy Adam for the tables."""
        if not kwargs and tables_of(self.model):
            return TablesAdam(self.model, self.learning_rate)
        built = super()._build_optimizer(**kwargs)
        return built if kwargs else adam_at_once(self.model, built)

    def _loss(self, interaction: Any) -> Any:
        """The model's loss, its matrix products in the chosen precision; RecBole's ``enable_amp`` is left alone."""
        if self.precision != torch.bfloat16:
            with little_padding(self.model):
                return self.model.calculate_loss(interaction)
        with torch.autocast(self.device.type, torch.bfloat16):
            return self.model.calculate_loss(interaction)

    def _check_nan(self, loss: torch.Tensor) -> None:
        """End training where the loss is no finite number; RecBole's step calls this before it learns from it."""
        if not torch.isfinite(loss):
            raise ValueError(
                f"training loss is {loss.item()} in epoch {self.report.epochs + 1}, step "
                f"{self.report.steps + 1}; allowed: finite numbers (a lower learning_rate may help)"
            )

    def _validated(
        self,
        valid_data: Any,
        loss: float | None,
        verbose: bool,
        saved: bool,
        callback_fn: Callable[[int, float], object] | None,
    ) -> None:
        """Validate, keep the parameters if they are better, and stop when patience has run out."""
        report = self.report
        value = self.validate(valid_data)
        report.curve.append(
            {
                "epoch": report.epochs,
                "seconds": time.perf_counter() - self._began,
                "loss": loss,
                "valid": value,
            }
        )
        best = report.best_valid
        if best is None or (value > best if self.valid_metric_bigger else value < best):
            report.best_valid, report.best_epoch, self.cur_step = value, report.epochs, 0
            self._best_state = {
                name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()
            }
            if saved:
                self._save_checkpoint(report.epochs, verbose=verbose)
        else:
            self.cur_step += 1
            if self.cur_step >= self.stopping_step:
                report.stopped_by = "patience"
        if verbose:
            self.logger.info(f"epoch {report.epochs}: {self._progress(loss)}")
        if callback_fn is not None:
            callback_fn(report.epochs - 1, value)

    def _progress(self, loss: float | None) -> str:
        """What is said after an epoch; short enough for a bar of 80 columns."""
        report = self.report
        parts = [] if loss is None else [f"loss {loss:.2f}"]
        if report.best_valid is not None:
            parts.append(
                f"{report.valid_metric} {report.curve[-1]['valid']:.4f}, best {report.best_valid:.4f}"
            )
        return ", ".join(parts)

    def _limit(self) -> str:
        """Which limit has been reached, or an empty string; the clock last, as only it is no result of its own."""
        if self.report.steps >= self.max_steps:
            return "steps"
        if self.report.epochs >= self.epochs:
            return "epochs"
        return "seconds" if time.perf_counter() - self._began >= self.max_seconds else ""

    def validate(self, valid_data: Any) -> float:
        """The validation metric, unrounded: from our ranks, or RecBole's own for metrics that only it has."""
        name, _, k = self.config["valid_metric"].partition("@")
        known = {metric.lower(): metric for metric in METRICS} | {"hit": "Recall"}
        if name.lower() not in known:
            return float(self._valid_epoch(valid_data)[0])
        part = valid_data._dataset
        with little_padding(self.model):
            ranks = rank_cases(
                scorer_of(self.model, part),
                cases_of(part),
                history=self.config["history"] or "unmasked",
                batch_size=ranked_at_once(self.config),
            )
        return float(METRICS[known[name.lower()]](ranks.all, int(k)).mean())

    def evaluate(
        self,
        eval_data: Any,
        load_best_model: bool = True,
        model_file: Any = None,
        show_progress: bool = False,
    ) -> Any:
        """RecBole's evaluation; the best model is read from a safe checkpoint folder."""
        if load_best_model:
            self.model.load_state_dict(checkpoint.load(Path(model_file or self.saved_model_file)).state)
        return super().evaluate(eval_data, load_best_model=False, show_progress=show_progress)

    def resume_checkpoint(self, resume_file: Any) -> None:
        """Not offered: a checkpoint holds no state of the optimiser."""
        raise InputError(
            f"{resume_file}: training cannot go on from it; a checkpoint holds no optimiser state"
        )

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        folder = Path(kwargs.get("saved_model_file", self.saved_model_file))
        save_model(folder, self.config, self.model, self.dataset, self.report)
        if verbose:
            self.logger.info(f"Saved {folder}")


class _LimitedBatches:
    """Batches of one epoch that end when a limit of the trainer is reached; counts steps and moves the bar."""

    def __init__(self, batches: Any, trainer: HierSRecTrainer, bar: Any) -> None:
        self.batches = batches
        self.trainer = trainer
        self.bar = bar
        self.taken = 0
        self.cut_by = ""  # the limit that ended the epoch before its last batch

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        for batch in self.batches:
            self.cut_by = self.trainer._limit()
            if self.cut_by:
                return
            yield batch
            self.taken += 1
            self.trainer.report.steps += 1
            if self.trainer.average is not None:
                self.trainer.average.update()
            self.bar.update(1)


def precision_of(name: str, device: torch.device) -> torch.dtype:
    """Type of the matrix products of training, from auto, float32 or bfloat16.

    "auto" is bfloat16 where the processor computes in it. Weights, sums, losses and everything outside training stay
    float32.
    """
    if name == "auto":
        able = (
            torch.cuda.is_bf16_supported(including_emulation=False)
            if device.type == "cuda"
            else torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        )
        return torch.bfloat16 if able else torch.float32
    return torch.bfloat16 if name == "bfloat16" else torch.float32


def ranked_at_once(config: Any) -> int:
    """``eval_batch_size``, also of a configuration that a checkpoint keeps; 256 where it was given as null."""
    return config["eval_batch_size"] or BATCH_ROWS


def batches_of(model: Any, train_data: Any, config: Any) -> Any:
    """The batches of an epoch: of rows of like length for what learns at every position, otherwise RecBole's own."""
    if way_of(model) != "every position":
        return train_data
    return LengthBuckets(train_data._dataset, config["train_batch_size"], config["seed"])


def way_of(model: Any) -> str:
    """How a model (or its class) learns: "every position", "counted", or RecBole's "prefix rows"."""
    return getattr(model, "way", "prefix rows")


def save_model(
    folder: Path,
    config: Any,
    model: Any,
    dataset: Any,
    report: TrainingReport,
    serving: Serving | None = None,
) -> None:
    """Write a model as a checkpoint folder (see :mod:`recbole_hiersrec.checkpoint`)."""
    catalogue = getattr(dataset, "catalogue", None)
    content = checkpoint.Checkpoint(
        model=config["model"],
        dataset=config["dataset"],
        config=compat.plain_config(config),
        training={name: value for name, value in asdict(report).items() if name != "curve"},
        state=model.state_dict(),
        tokens=tokens_of(dataset)[1:],
        taxonomy=catalogue.taxonomy if catalogue else None,
        serving=serving,
    )
    checkpoint.save(folder, content)


def load_data_and_model(folder: str | Path) -> tuple[Any, Any, Any, Any, Any, Any]:
    """Load a checkpoint folder, and its data set as it was split.

    Returns:
        (config, model, dataset, train_data, valid_data, test_data), as RecBole's function of this name.

    Raises:
        CheckpointError: damaged or foreign checkpoint, the data set now has other items than the checkpoint, or its
            weights are not those of this version's model.
    """
    content = checkpoint.load(Path(folder))
    config = compat.rebuild_config(content.config, f"checkpoint {folder}")
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    parts = data_preparation(config, dataset)
    tokens = tokens_of(dataset)[1:]
    if tokens != list(content.tokens):
        raise CheckpointError(
            f"checkpoint {folder}: made for {len(content.tokens)} items of {content.dataset}; "
            f"the data set now has {len(tokens)} items or others"
        )
    init_seed(config["seed"], config["reproducibility"])
    model = get_model(config["model"])(config, parts[0]._dataset).to(config["device"])
    try:
        model.load_state_dict(content.state)
    except RuntimeError:
        differences = checkpoint.misfit(model.state_dict(), content.state)
        if not differences:
            raise
        raise CheckpointError(
            f"checkpoint {folder}: made by another version or with other settings: the weights do not fit "
            f"({differences})"
        ) from None
    return config, model, dataset, *parts
