"""Defects of RecBole's S3Rec: its second stage needs a file, and items without an attribute get one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recbole.data.interaction import Interaction
from recbole.model.loss import BPRLoss
from recbole.model.sequential_recommender.s3rec import S3Rec
from torch import nn

from recbole_hiersrec.compat.patch import wrap


def finetuning_without_a_file() -> None:
    """With ``train_stage: finetune`` and no ``pre_model_path``, S3Rec starts from its initial weights.

    The weights of the first stage can then be put in by ``load_state_dict``, and a finished model can be built again to
    load a checkpoint into.
    Upstream: ``model/sequential_recommender/s3rec.py:120`` reads the file while the model is made.
    """
    wrap(S3Rec, "__init__", _finetuned)


def items_without_an_attribute() -> None:
    """An item whose attribute is missing has none in pretraining.

    Upstream: ``model/sequential_recommender/s3rec.py:313`` counts from the end with -1, which gives it the last
    attribute; where an item may have several, ``:309`` leaves -1 out. So each is given a list of one.
    """
    wrap(S3Rec, "reconstruct_pretrain_data", _with_lists_of_attributes)


def _finetuned(original: Callable[..., None]) -> Callable[..., None]:
    def init(self: Any, config: Any, dataset: Any) -> None:
        if config["train_stage"] != "finetune" or config["pre_model_path"]:
            return original(self, config, dataset)
        config["train_stage"] = "pretrain"  # the stage that initialises the weights
        try:
            original(self, config, dataset)
        finally:
            config["train_stage"] = "finetune"
        self.train_stage = "finetune"
        self.loss_fct = {"BPR": BPRLoss, "CE": nn.CrossEntropyLoss}[self.loss_type]()
        return None

    return init


def _with_lists_of_attributes(original: Callable[..., Any]) -> Callable[..., Any]:
    def reconstruct(self: Any, *given: Any) -> Any:
        attributes = self.item_feat[self.FEATURE_FIELD]
        if attributes.dim() == 1:
            self.item_feat = Interaction({self.FEATURE_FIELD: attributes.unsqueeze(1)})
        return original(self, *given)

    return reconstruct
