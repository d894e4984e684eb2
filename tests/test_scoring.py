"""Every model that the suites offer keeps the scorer's contract, through the adapter that the jobs use."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from atomic_files import SMALL, write_shop
from scorer_contract import ScorerContract

from recbole_hiersrec import checkpoint, register
from recbole_hiersrec.evaluation.scorer import Cases, Scorer, is_inner_product, score
from recbole_hiersrec.names import INNER_PRODUCT, MODELS, load_model_class

register()

from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402
from recbole.data.interaction import Interaction  # noqa: E402
from recbole.utils import get_model, init_seed  # noqa: E402

from recbole_hiersrec.scoring import QueryScorer, cases_of, scorer_of, tokens_of  # noqa: E402
from recbole_hiersrec.training import TrainingReport, save_model  # noqa: E402


@cache
def training_part(model: str, *changes: tuple[str, Any]) -> tuple[Any, Any]:
    """(configuration, training part) of the small shop."""
    with TemporaryDirectory() as folder:
        values = {
            **SMALL,
            "MAX_ITEM_LIST_LENGTH": 8,
            "data_path": str(write_shop(Path(folder) / "data")),
            "category_fields": ["department", "class"],
            "title_field": "title",
            "train_neg_sample_args": None,
            "embedding_size": 8,
            "num_layers": 1,
            "initializer_range": 0.3,
            **dict(changes),
        }
        config = Config(model=model, dataset="shop", config_dict=values)
        return config, data_preparation(config, create_dataset(config))[0]._dataset


class ModelContract(ScorerContract):
    """The contract for a model of RecBole; subclasses name it, and settings of its own."""

    model = ""
    settings: tuple[tuple[str, Any], ...] = ()
    n_items = 10

    def make(self, cases: Cases, seed: int) -> Scorer:
        return self.scorer(self.build(seed), cases)

    def build(self, seed: int) -> Any:
        config, train = training_part(self.model, *self.settings)
        init_seed(seed, True)
        model = get_model(self.model)(config, train)
        for parameter in model.parameters():
            if parameter.unique().numel() == 1:  # what begins at one value: no term of the score shall be 0
                parameter.data += 0.3 * torch.randn_like(parameter)
        return model

    def scorer(self, model: Any, cases: Cases) -> Scorer:
        rows = Interaction(
            {
                "user_id": torch.ones_like(cases.target),
                "item_id_list": cases.history,
                "item_length": cases.length,
                "item_id": cases.target,
            }
        )
        return scorer_of(model, SimpleNamespace(inter_feat=rows, item_num=11))

    def reload(self, scorer: Scorer, cases: Cases, folder: Path) -> Scorer:
        config, train = training_part(self.model, *self.settings)
        save_model(folder / "model", config, scorer.model, train, TrainingReport())  # type: ignore[attr-defined]
        other = self.build(seed=99)
        for tensor in other.state_dict().values():
            tensor.zero_()  # what was counted, too: it is equal on equal data
        other.load_state_dict(checkpoint.load(folder / "model").state)
        return self.scorer(other, cases)


class TestHierSRec(ModelContract):
    model = "HierSRec"

    def test_every_parameter_counts(self) -> None:
        """Without this the contract would say nothing of a term that the random model happens to lack."""
        cases, every = self.cases(), torch.arange(12)
        model = self.build(seed=3)

        def scores() -> torch.Tensor:
            scorer = self.scorer(model, cases)
            return scorer.scores(scorer.batch(every))[:, 1:]

        before = scores()
        for name, parameter in model.named_parameters():
            held = parameter.data.clone()
            parameter.data.zero_()
            assert parameter.numel() == 0 or (scores() - before).abs().max() > 1e-4, name
            parameter.data.copy_(held)


class TestItemOnly(TestHierSRec):
    settings = (("category_fields", ()), ("title_field", None))


class TestOneLevel(TestHierSRec):
    settings = (("category_fields", ("class",)),)


class TestHardFeedback(TestHierSRec):
    settings = (("category_feedback", "hard"),)


class TestFlat(TestHierSRec):
    settings = (("category_feedback", "none"),)


class TestWithoutIds(TestHierSRec):
    settings = (("use_item_id", False),)


class TestMetadata(TestHierSRec):
    settings = (("category_fields", ("department",)), ("metadata_fields", ("class",)))


class TestWithoutCategoryScore(TestHierSRec):
    settings = (("category_score", "none"),)


class TestWithoutCategoryTask(TestHierSRec):
    settings = (("category_task", False),)


class TestDetachedCategoryScore(TestHierSRec):
    settings = (("category_score", "detached"),)


class TestSeparateEncoder(TestHierSRec):
    settings = (("category_encoder", "separate"),)


class TestWithoutRepeatTerm(TestHierSRec):
    settings = (("repeat_term", False),)


class TestCountedRepeatTerm(TestHierSRec):
    settings = (("repeat_term", "counted"),)


class TestWithoutFollowers(TestHierSRec):
    settings = (("followers", 0),)


class TestNothingScoredApart(TestHierSRec):
    settings = (("followers", 0), ("repeat_term", False))


class TestFollowerFields(TestHierSRec):
    settings = (("metadata_fields", ("class",)), ("follower_fields", ("department", "class")))


class TestSASRecAllPositions(ModelContract):
    model = "SASRecAllPositions"


class TestGRU4RecAllPositions(ModelContract):
    model = "GRU4RecAllPositions"


class TestSASRec(ModelContract):
    model = "SASRec"


class TestGRU4Rec(ModelContract):
    model = "GRU4Rec"


class TestCORE(ModelContract):
    model = "CORE"


class TestDIN(ModelContract):
    """It has no ``full_sort_predict``, so it is asked item by item; it takes histories of the full width alone."""

    model = "DIN"

    def scorer(self, model: Any, cases: Cases) -> Scorer:
        padded = F.pad(cases.history, (0, self.width - cases.history.size(1)))
        return super().scorer(model, replace(cases, history=padded))

    def test_scores_are_those_of_predict(self) -> None:
        scorer: Any = self.make(self.cases(), 3)
        batch = scorer.batch(torch.arange(12))
        scores = scorer.scores(batch)
        for item in range(1, self.n_items + 1):
            batch["item_id"][:] = item
            with torch.no_grad():
                torch.testing.assert_close(scores[:, item], scorer.model.predict(batch))


class TestSequentialPop(ModelContract):
    model = "SequentialPop"


class TestMarkovChain(ModelContract):
    model = "MarkovChain"


class TestSessionPop(ModelContract):
    model = "SessionPop"


class TestSKNN(ModelContract):
    model = "SKNN"


class TestVSKNN(ModelContract):
    model = "VSKNN"
    settings = (("neighbours", 3), ("idf_weight", 1.0))


class TestSTAN(ModelContract):
    model = "STAN"
    settings = (("neighbours", 3),)


@pytest.mark.parametrize(
    ("model", "factorised"),
    [("HierSRec", True), ("SASRec", True), ("GRU4Rec", True), ("CORE", False), ("MarkovChain", False)],
)
def test_which_models_are_inner_products(model: str, factorised: bool) -> None:
    contract = ModelContract()
    contract.model = model
    assert is_inner_product(contract.make(contract.cases(), 1)) == factorised


def test_the_list_of_inner_products_is_that_of_the_classes() -> None:
    found = {name for name in MODELS if hasattr(load_model_class(name), "encode")}
    assert found == INNER_PRODUCT


def test_scores_of_an_inner_product_come_from_the_kernel() -> None:
    contract = TestHierSRec()
    scorer = contract.make(contract.cases(), 1)
    assert isinstance(scorer, QueryScorer)
    batch = scorer.batch(torch.arange(12))
    assert torch.equal(scorer.scores(batch), score(scorer.queries(batch), scorer.item_vectors()))


def test_dropout_is_off() -> None:
    contract = TestHierSRec()
    scorer = contract.make(contract.cases(), 1)
    batch = scorer.batch(torch.arange(12))
    assert torch.equal(scorer.scores(batch), scorer.scores(batch))
    assert not scorer.model.training  # type: ignore[attr-defined]


def test_cases_and_tokens_of_a_part() -> None:
    _, train = training_part("SASRec")
    cases = cases_of(train)
    assert len(cases) == 12 * 3
    assert len(tokens_of(train)) == 11
    assert tokens_of(train)[0] == "[PAD]"
    assert int(cases.target[0]) == int(train.inter_feat["item_id"][0])
