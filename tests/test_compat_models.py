"""One test or more for each defect of RecBole's own models that the compatibility layer mends."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from atomic_files import SMALL, write_shop

from recbole_hiersrec import compat
from recbole_hiersrec.benchmark import needs

compat.apply_fixes()

from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402
from recbole.data.interaction import Interaction  # noqa: E402
from recbole.data.transform import MaskItemSequence  # noqa: E402
from recbole.utils import get_model, init_seed  # noqa: E402

from recbole_hiersrec.encoding import IGNORE_PADDING  # noqa: E402

SETTINGS = {**SMALL, "embedding_size": 8, "train_neg_sample_args": None, "prototype_size": 4}
HISTORY = torch.tensor([[3, 0, 0, 0, 0], [4, 2, 0, 0, 0], [1, 2, 3, 4, 5]])
LENGTH = torch.tensor([1, 2, 5])


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop; its item i3 has no class, and i99 was never clicked."""
    data_path = write_shop(tmp_path_factory.mktemp("data"))
    path = data_path / "shop" / "shop.item"
    text = path.read_text(encoding="utf-8").replace("i3\td0\tc1", "i3\td0\t")
    path.write_text(text + "i99\td9\tc9\tnever sold\n", encoding="utf-8")
    return data_path


def made(shop: Path, name: str, **settings: Any) -> tuple[Any, Any]:
    """A model of RecBole on the shop, and its training loader."""
    given = {**SETTINGS, "data_path": str(shop), "checkpoint_dir": str(shop), **settings}
    if name in ("FPMC", "TransRec"):
        del given["train_neg_sample_args"]
    config = Config(model=name, dataset="shop", config_dict=given)
    init_seed(1, True)
    train, _, _ = data_preparation(config, create_dataset(config))
    return get_model(name)(config, train._dataset).eval(), train


# --- padding ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["HGN", "STAMP"])
def test_padding_is_zero_and_stays_so(shop: Path, name: str) -> None:
    model, train = made(shop, name)
    assert not model.item_embedding.weight[0].any()
    assert model.item_embedding.weight[1:].any(1).all()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    model.calculate_loss(next(iter(train))).backward()
    optimizer.step()
    assert not model.item_embedding.weight[0].any()


def test_stamp_does_not_hear_the_padding(shop: Path) -> None:
    model, _ = made(shop, "STAMP")
    torch.testing.assert_close(model(HISTORY[:2], LENGTH[:2]), model(HISTORY[:2, :2], LENGTH[:2]))


def test_nextitnet_predicts_from_the_last_item(shop: Path) -> None:
    """Its convolutions look back alone, so a session says the same with and without padding."""
    model, _ = made(shop, "NextItNet")
    found = model(HISTORY)
    for row, length in enumerate(LENGTH.tolist()):
        alone = type(model).forward.__wrapped__(model, HISTORY[row : row + 1, :length])  # RecBole's own
        torch.testing.assert_close(found[row : row + 1], alone)
    assert not torch.allclose(found[:1], type(model).forward.__wrapped__(model, HISTORY[:1]))


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_hgn_weights_the_items_alone(shop: Path, pooling: str) -> None:
    """Of a full row it says what RecBole does, of a shorter session what RecBole says of the row cut to it."""
    model, _ = made(shop, "HGN", pooling_type=pooling)
    gated = model.item_embedding(HISTORY) * 1.5
    users = model.user_embedding(torch.tensor([1, 2, 3]))
    found, gates = model.instance_gating(gated, users), model.w4.weight
    for row, length in enumerate(LENGTH.tolist()):
        model.w4 = torch.nn.Linear(8, length, bias=False)
        model.w4.weight = torch.nn.Parameter(gates[:length].detach())
        one = slice(row, row + 1)
        theirs = type(model).instance_gating.__wrapped__(model, gated[one, :length], users[one])
        torch.testing.assert_close(found[one], theirs)


READ_PADDING = ["LightSANs", "FEARec", "SINE", "Caser"]
"""Models of which ``compat/padding``, and so each record, says that they read what is behind a session."""
OTHERS = """
    GRU4Rec NARM STAMP SASRec BERT4Rec SRGNN GCSAN CORE NextItNet GRU4RecF SASRecF FDSA S3Rec
"""


def padded_scores(shop: Path, name: str, width: int, change: float = 0.0) -> torch.Tensor:
    """Scores of all items after :data:`HISTORY` in rows of ``width``, after a change to the vector of the padding."""
    columns = {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "department", "class"]}
    given = {"selected_features": ["department", "class"], "item_attribute": "class", "load_col": columns}
    given |= {"train_stage": "pretrain"} if name == "S3Rec" else {}
    model, _ = made(shop, name, MAX_ITEM_LIST_LENGTH=10, n_layers=2, **given)
    with torch.no_grad():
        model.item_embedding.weight[0] += change * torch.arange(8.0)
        history = torch.nn.functional.pad(HISTORY, (0, width - HISTORY.shape[1]))
        rows = {"user_id": LENGTH, "item_id": LENGTH, "item_length": LENGTH, "item_id_list": history}
        scores: torch.Tensor = model.full_sort_predict(Interaction(rows))
    return scores[:, 1:]


@pytest.mark.parametrize("name", OTHERS.split())
def test_padding_changes_nothing(shop: Path, name: str) -> None:
    narrow, wide = (padded_scores(shop, name, width) for width in (6, 10))
    assert narrow.std() > 0
    torch.testing.assert_close(wide, narrow, rtol=0, atol=1e-5 * float(narrow.std()))


def test_what_is_said_of_models_is_what_they_do() -> None:
    assert set(READ_PADDING) == needs.READ_PADDING
    assert set(OTHERS.split()) > IGNORE_PADDING
    assert "max_length" in needs.remark("OwnCaser", "Caser", "object")
    assert needs.remark("SASRec", "object") == ""


@pytest.mark.parametrize("name", READ_PADDING)
def test_models_that_are_said_to_read_padding_do(shop: Path, name: str) -> None:
    scores, changed = (padded_scores(shop, name, 10, change) for change in (0.0, 0.1))
    assert (scores - changed).abs().max() > 1e-3 * scores.std()


# --- BERT4Rec ---------------------------------------------------------------------------------------------


def masked(ratio: float, history: Any, length: Any, target: Any, **changes: Any) -> tuple[Any, Any, Any]:
    """What the transform adds to rows, which it gets in a dictionary; and the mask's id, 11."""
    values = {
        "ITEM_ID_FIELD": "item", "LIST_SUFFIX": "_list", "ITEM_LIST_LENGTH_FIELD": "length", "mask_ratio": ratio,
        "MAX_ITEM_LIST_LENGTH": history.shape[1], **changes,
    }  # fmt: skip
    config = Fields(values)
    rows = Interaction({"item_list": history, "length": length, "item": target})
    found = MaskItemSequence(config)(SimpleNamespace(num=lambda field: 11), rows)
    return found["Mask_item_list"], found["Pos_item"], found["MASK_INDEX"]


class Fields(dict[str, Any]):
    """Settings that are attributes too, as RecBole's Config."""

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(name)


def test_bert4rec_masks_the_session_with_its_target() -> None:
    target = torch.tensor([7, 8, 9])
    whole = torch.tensor([[3, 7, 0, 0, 0], [4, 2, 8, 0, 0], [2, 3, 4, 5, 9]])
    sequence, items, index = masked(0.0, HISTORY, LENGTH, target, ft_ratio=1.0)  # the last item is masked
    last = whole.ne(0).sum(1, keepdim=True) - 1
    assert torch.equal(sequence, whole.scatter(1, last, 11))
    assert torch.equal(items[:, -1], target)
    assert torch.equal(index[:, -1:], last)
    random.seed(1)
    sequence, items, index = masked(0.5, HISTORY, LENGTH, target)
    hidden = sequence == 11
    assert hidden.any()
    assert torch.equal(sequence[~hidden], whole[~hidden])
    for row in range(3):
        shown = [item for item in items[row].tolist() if item]
        assert shown == whole[row][hidden[row]].tolist()[-len(shown) or None :]


def test_bert4rec_keeps_the_history_as_it_was() -> None:
    history, length = HISTORY.clone(), LENGTH.clone()
    masked(0.5, history, length, torch.tensor([7, 8, 9]))
    assert torch.equal(history, HISTORY)
    assert torch.equal(length, LENGTH)


@pytest.mark.parametrize("seed", range(20))
def test_bert4rec_learns_from_every_batch(shop: Path, seed: int) -> None:
    random.seed(seed)
    sequence, items, index = masked(
        0.2, HISTORY[:1], LENGTH[:1], torch.tensor([7])
    )  # a row of one short session
    assert index.any()
    model, _ = made(shop, "BERT4Rec")
    rows = {"Mask_item_id_list": sequence.clamp(max=10), "Pos_item_id": items, "Neg_item_id": items}
    loss = model.calculate_loss(Interaction({**rows, "MASK_INDEX": index}))
    assert torch.isfinite(loss)
    assert loss > 0


def test_bert4rec_has_room_for_a_masked_item() -> None:
    short, length = HISTORY[:, :4].clone(), LENGTH.clamp(max=4)
    for seed in range(10):
        random.seed(seed)
        _, items, index = masked(0.2, short, length, torch.tensor([7, 8, 9]))
        assert items.shape == index.shape == (3, 1)


def test_bert4rec_scores_whole_sessions(shop: Path) -> None:
    model, _ = made(shop, "BERT4Rec")
    mask = model.mask_token
    by_hand = torch.tensor([[3, mask, 0, 0, 0], [4, 2, mask, 0, 0], [2, 3, 4, 5, mask]])
    states = model(by_hand)[torch.arange(3), torch.tensor([1, 2, 4])]
    wanted = states @ model.item_embedding.weight[: model.n_items].T + model.output_bias
    rows = Interaction({"item_id_list": HISTORY, "item_length": LENGTH, "item_id": torch.tensor([7, 8, 9])})
    torch.testing.assert_close(model.full_sort_predict(rows), wanted)
    torch.testing.assert_close(model.predict(rows), wanted[torch.arange(3), torch.tensor([7, 8, 9])])
    assert torch.equal(rows["item_length"], LENGTH)


# --- S3Rec ------------------------------------------------------------------------------------------------

LOADED = {"load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "class"]}}


@pytest.mark.parametrize("loss", ["CE", "BPR"])
def test_s3rec_finetunes_without_a_file(shop: Path, loss: str) -> None:
    first, _ = made(shop, "S3Rec", **LOADED)
    given = {**LOADED, "loss_type": loss, "train_stage": "finetune"}
    if loss == "BPR":
        given["train_neg_sample_args"] = {"distribution": "uniform", "sample_num": 1}
    second, train = made(shop, "S3Rec", **given)
    assert second.train_stage == "finetune"
    second.load_state_dict(first.state_dict())
    assert torch.isfinite(second.calculate_loss(next(iter(train))))


def test_s3rec_reads_the_file_that_is_named(shop: Path, tmp_path: Path) -> None:
    first, _ = made(shop, "S3Rec", **LOADED)
    torch.save(
        {"state_dict": {name: value + 1 for name, value in first.state_dict().items()}}, tmp_path / "x.pth"
    )
    given = {**LOADED, "train_stage": "finetune", "pre_model_path": str(tmp_path / "x.pth")}
    second, _ = made(shop, "S3Rec", **given)
    torch.testing.assert_close(second.item_embedding.weight, first.item_embedding.weight + 1)


def test_s3rec_items_without_an_attribute_have_none(shop: Path) -> None:
    model, train = made(shop, "S3Rec", **LOADED)
    tokens = train._dataset.field2id_token
    ids = {token: number for number, token in enumerate(tokens["item_id"])}
    session = torch.tensor([[ids["i4"], ids["i3"], ids["i0"], 0, 0]])
    features = model.reconstruct_pretrain_data(session, torch.tensor([3]))[0]
    assert features.shape == (1, 5, model.n_features)
    names = [[tokens["class"][place + 1] for place in row.nonzero().flatten()] for row in features[0]]
    assert names == [[], [], ["c2"], [], ["c0"]]  # padded on the left; i3 has no class


# --- the same at less cost --------------------------------------------------------------------------------


def test_transrec_scores_are_recboles(shop: Path) -> None:
    model, train = made(shop, "TransRec")
    torch.nn.init.normal_(model.bias.weight)
    rows = next(iter(train))
    theirs = type(model).full_sort_predict.__wrapped__(model, rows)
    torch.testing.assert_close(model.full_sort_predict(rows), theirs)


def test_fearec_rows_of_each_target_are_recboles(shop: Path) -> None:
    model, train = made(shop, "FEARec", n_layers=2)
    theirs = type(model).get_same_item_index.__wrapped__(model, train._dataset)
    assert model.same_item_index.keys() == theirs.keys()
    assert all(np.array_equal(rows, theirs[target]) for target, rows in model.same_item_index.items())


@pytest.mark.parametrize("name", ["SRGNN", "GCSAN"])
@pytest.mark.parametrize("length", [1, 2, 7])
def test_graphs_are_recboles(shop: Path, name: str, length: int) -> None:
    """Sessions with repeats, of all lengths, some as long as the row."""
    model, _ = made(shop, name)
    random_state = np.random.default_rng(length)
    sizes = random_state.integers(1, length + 1, (50, 1))
    items = random_state.integers(1, 5, (50, length))
    sessions = torch.from_numpy(np.where(np.arange(length) < sizes, items, 0))
    theirs = type(model)._get_slice.__wrapped__(model, sessions)
    ours = model._get_slice(sessions)
    assert len(ours) == len(theirs)
    assert all(
        torch.equal(mine, other) and mine.dtype == other.dtype
        for mine, other in zip(ours, theirs, strict=True)
    )


def test_gelu_is_recboles(shop: Path) -> None:
    model, _ = made(shop, "SASRec")
    layer = model.trm_encoder.layer[0].feed_forward
    assert layer.intermediate_act_fn.__func__ is type(layer).gelu
    values = torch.linspace(-8, 8, 1001)
    torch.testing.assert_close(
        layer.gelu(values), type(layer).gelu.__wrapped__(layer, values), rtol=1e-5, atol=2e-6
    )


@pytest.mark.parametrize("loss_type", ["CE", "BPR"])
def test_bert4rec_loss_is_recboles(shop: Path, loss_type: str) -> None:
    model, train = made(shop, "BERT4Rec", mask_ratio=0.4, loss_type=loss_type)
    torch.nn.init.normal_(model.output_bias)
    for rows in train:
        model.zero_grad()
        theirs = type(model).calculate_loss.__wrapped__(model, rows)
        theirs.backward()
        gradients = [value.grad.clone() for value in model.parameters()]
        model.zero_grad()
        ours = model.calculate_loss(rows)
        ours.backward()
        torch.testing.assert_close(ours, theirs)
        for value, gradient in zip(model.parameters(), gradients, strict=True):
            torch.testing.assert_close(value.grad, gradient, rtol=1e-4, atol=1e-6)


# --- item universe ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("catalogue_items", "n_items"), [(None, 11), (True, 11), (False, 10)])
def test_items_that_nobody_clicked(shop: Path, catalogue_items: bool | None, n_items: int) -> None:
    """None is plain RecBole, whose universe stays as it is."""
    given = {} if catalogue_items is None else {"catalogue_items": catalogue_items}
    _, train = made(shop, "SASRecF", **LOADED, selected_features=["class"], **given)
    dataset = train._dataset
    assert dataset.item_num - 1 == n_items
    assert len(dataset.item_feat) == n_items + 1
    assert ("c9" in dataset.field2id_token["class"]) == (n_items == 11)
    plain = made(shop, "SASRec")[1]._dataset
    assert list(plain.field2id_token["item_id"]) == list(dataset.field2id_token["item_id"][:11])
