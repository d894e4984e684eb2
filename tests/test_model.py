"""HierSRec: the identity of its score, and that every setting changes something."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from atomic_files import SMALL, write_shop
from scorer_contract import ScorerContract

from recbole_hiersrec import register
from recbole_hiersrec.data.catalogue import Catalogue
from recbole_hiersrec.data.taxonomy import Taxonomy
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.evaluation.scorer import Cases, Scorer, score
from recbole_hiersrec.model.loss import full_softmax
from recbole_hiersrec.model.memory import Memory, build_memory
from recbole_hiersrec.model.network import HierSRecNetwork, build_network
from recbole_hiersrec.model.repeats import RepeatTerm, own_items
from recbole_hiersrec.queries import Queries
from recbole_hiersrec.retrieval.cells import Cells
from recbole_hiersrec.retrieval.lists import build_lists
from recbole_hiersrec.settings import HierSRecSettings

register()

from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402
from recbole.data.interaction import Interaction  # noqa: E402
from recbole.utils import get_model, init_seed  # noqa: E402

N_ITEMS = 30


def catalogue(n_items: int = N_ITEMS) -> Catalogue:
    """Three levels, titles of up to 3 tokens, one more field."""
    paths = [(f"a{item % 2}", f"b{item % 4}", f"c{item % 12}") for item in range(n_items)]
    titles = np.zeros((n_items + 1, 3), dtype=np.int64)
    titles[1:, 0] = 1 + np.arange(n_items) % 5
    titles[1::2, 1] = 6
    metadata = np.zeros((n_items + 1, 1), dtype=np.int64)
    metadata[1:, 0] = np.arange(n_items) % 3
    tokens = tuple(f"i{item}" for item in range(1, n_items + 1))
    return Catalogue(tokens, Taxonomy.from_paths(paths, ["a", "b", "c"]), titles, metadata)


def random_memory(items: Catalogue, settings: HierSRecSettings) -> Memory:
    """Of items that follow more than once, at every distance; the trust and the weights are random, too."""
    generator = np.random.default_rng(4)
    pairs = []
    for _ in range(settings.follower_window):
        before = generator.integers(1, N_ITEMS + 1, 600)
        pairs.append((before, 1 + (before + generator.integers(0, 6, 600)) % N_ITEMS))
    made = build_memory(pairs, items, settings)
    for parameter in made.trust.parameters():
        torch.nn.init.normal_(parameter)
    for name, parameter in made.named_parameters():
        if "log" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return made


def network(seed: int = 3, *, remember: bool = False, **settings: Any) -> HierSRecNetwork:
    """Random; with ``remember`` it has a memory of what followed the items."""
    torch.manual_seed(seed)
    chosen = HierSRecSettings(
        hidden_size=8, inner_size=16, initializer_range=0.3, metadata_fields=("m",), **settings
    )
    memory = random_memory(catalogue(), chosen) if remember else None
    built = build_network(catalogue(), chosen, max_length=8, memory=memory).eval()
    fill(built)
    return built


def fill(net: HierSRecNetwork) -> None:
    """Random values for what begins at one value, so that no term of the score is 0."""
    for parameter in (net.item_bias.weight, net.level_weight, *net.heads.bias):
        torch.nn.init.normal_(parameter)
    for parameter in net.heads.to_item.parameters():
        torch.nn.init.normal_(parameter, std=0.3)


REMEMBERED = {"followers": 3, "follower_window": 2, "follower_items": 3, "follower_fields": ("c", "m")}


class NetworkScorer:
    """A network as a scorer of cases; with ``remember``, repeated items and followers are scored apart."""

    def __init__(self, cases: Cases, seed: int, remember: bool = False) -> None:
        self.cases = cases
        self.network = network(seed, remember=remember, **REMEMBERED)
        self.n_items = N_ITEMS

    def batch(self, index: torch.Tensor) -> Any:
        return self.cases.history[index], self.cases.length[index]

    def queries(self, batch: Any) -> Queries:
        history, length = batch
        rows, positions = torch.arange(len(history)), length - 1
        states, heads = self.network.read(history, positions)
        apart = None
        if self.network.memory is not None:
            known = self.network.memory.recall(history, length, rows, positions)
            apart = self.network.apart(states, own_items(history, rows, positions), *known)
        return Queries(self.network.queries(heads), history, apart)

    def item_vectors(self) -> torch.Tensor:
        return self.network.item_vectors()

    def scores(self, batch: Any) -> torch.Tensor:
        return score(self.queries(batch), self.item_vectors())


class TestNetworkAsScorer(ScorerContract):
    n_items = N_ITEMS

    def make(self, cases: Cases, seed: int) -> Scorer:
        return NetworkScorer(cases, seed)


class TestNetworkWithFollowersAsScorer(ScorerContract):
    n_items = N_ITEMS

    def make(self, cases: Cases, seed: int) -> Scorer:
        return NetworkScorer(cases, seed, remember=True)

    def test_followers_and_own_items_meet(self) -> None:
        """The cases of the contract hold each kind of item scored apart, and ones of several kinds."""
        scorer = NetworkScorer(self.cases(), 3, remember=True)
        history, length = scorer.batch(torch.arange(12))
        assert scorer.network.memory is not None
        found, _ = scorer.network.memory.recall(history, length, torch.arange(12), length - 1)
        pairs = [(set(a) - {0}, set(b) - {0}) for a, b in zip(found.tolist(), history.tolist(), strict=True)]
        assert any(known & own for known, own in pairs)
        assert any(known - own for known, own in pairs)
        assert any(own - known for known, own in pairs)


@pytest.mark.parametrize("feedback", ["soft", "hard", "none"])
def test_the_score_is_the_sum_of_its_terms(feedback: str) -> None:
    """s(i) = z . v_i + sum_m w_m (q_m . u_m[c_m(i)] + b_m[c_m(i)]) + b_i, term by term, item by item."""
    net = network(category_feedback=feedback)
    with torch.no_grad():
        heads = net.heads(torch.randn(4, 8))
        scores = net.queries(heads) @ net.item_vectors().T
        weights = F.softplus(net.level_weight)
        for row in range(4):
            for item in range(1, N_ITEMS + 1):
                expected = (
                    heads.item_query[row] @ net.items(torch.tensor([item]))[0] + net.item_bias.weight[item, 0]
                )
                for level in range(3):
                    category = net.items.item_category[item, level]
                    expected += weights[level] * (
                        heads.category_queries[level][row] @ net.heads.category[level].weight[category]
                        + net.heads.bias[level][category]
                    )
                assert scores[row, item] == pytest.approx(float(expected), abs=1e-4)
    assert (weights > 0).all()


def test_one_level_adds_the_log_probability_of_the_category() -> None:
    """With w = 1, the level's term equals log p(c(i)) up to a constant a query."""
    net = network()
    with torch.no_grad():
        heads = net.heads(torch.randn(4, 8))
        for level in range(3):
            categories = net.items.item_category[1:, level]
            term = heads.category_queries[level] @ net.heads.category[level].weight[categories].T
            term += net.heads.bias[level][categories]
            difference = term - heads.category_logits[level].log_softmax(-1)[:, categories]
            assert (difference.max(1).values - difference.min(1).values).max() < 1e-5


def states(net: HierSRecNetwork, history: torch.Tensor, table: torch.Tensor | None = None) -> torch.Tensor:
    """State of every position, [B, L, D]."""
    return net.read(history, torch.ones_like(history, dtype=torch.bool), table)[0].view(*history.shape, -1)


@pytest.mark.parametrize("n_heads", [1, 2])
@pytest.mark.parametrize("n_layers", [1, 2])
@pytest.mark.parametrize("encoder", ["shared", "separate"])
def test_one_position_of_each_session_says_what_it_says_among_all(
    n_layers: int, n_heads: int, encoder: str
) -> None:
    """With the gradients of all parameters, and whatever comes after the position."""
    torch.manual_seed(1)
    net = network(2, n_layers=n_layers, n_heads=n_heads, category_encoder=encoder)
    history = torch.randint(1, N_ITEMS + 1, (6, 5))
    place = torch.tensor([0, 4, 2, 2, 3, 1])
    found = []
    for where in (place, torch.arange(5) == place.unsqueeze(1)):
        net.zero_grad()
        states, heads = net.read(history, where)
        queries = net.queries(heads)
        (queries * torch.linspace(0, 1, queries.numel()).view_as(queries)).sum().backward()
        gradients = {
            name: value.grad.to_dense() for name, value in net.named_parameters() if value.grad is not None
        }
        found.append(({"states": states, "queries": queries}, gradients))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("repeat_term", [True, "counted"])
def test_bonuses_add_up_over_all_items_whether_put_together_or_not(repeat_term: bool | str) -> None:
    """Loss and gradients; items that the session holds and the memory knows have two bonuses."""
    net = network(remember=True, repeat_term=repeat_term, **REMEMBERED)
    assert net.memory is not None
    assert net.repeat is not None
    torch.nn.init.normal_(net.repeat.bias, std=0.1)
    history = torch.tensor([[1, 2, 3, 4, 5], [7, 8, 7, 9, 3], [4, 4, 0, 0, 0]])
    length = torch.tensor([5, 5, 2])
    targets = torch.tensor([6, 2, 5])
    found = []
    for once in (True, False):
        net.zero_grad()
        states, heads = net.read(history, length - 1)
        known = net.memory.recall(history, length, torch.arange(3), length - 1)
        own = own_items(history, torch.arange(3), length - 1)
        apart = net.apart(states, own, *known, once=once)
        assert apart is not None
        n_twice = sum(len(row) - len(set(row)) for row in (ids[ids > 0].tolist() for ids in apart.ids))
        assert (n_twice == 0) == once
        loss = full_softmax(net.queries(heads), net.item_vectors(), targets, apart)
        loss.backward()
        gradients = {
            name: value.grad.to_dense() for name, value in net.named_parameters() if value.grad is not None
        }
        found.append((loss.detach(), gradients))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-6)


def test_the_repeat_term_by_hand() -> None:
    """State (2, -1); session 5, 7, 5, 9 up to its third step: 5 came twice and last, 7 once, a step before."""
    states, history = torch.tensor([[2.0, -1.0]]), torch.tensor([[5, 7, 5, 9]])
    own = own_items(history, torch.tensor([0]), torch.tensor([2]))
    plain, counted = RepeatTerm(2, counted=False), RepeatTerm(2, counted=True)
    with torch.no_grad():
        plain.weight.copy_(torch.tensor([[0.5, 1.0]]))
        plain.bias.fill_(0.25)
        counted.weight.copy_(torch.tensor([[0.5, 1.0], [1.0, 0.0], [0.0, -1.0]]))
        counted.bias.copy_(torch.tensor([0.1, 0.2, 0.3]))
    assert plain(states, own).tolist() == [[0.25, 0.25, 0.0, 0.0]]
    base, often, ago = 0 + 10 * 0.1, 2 + 10 * 0.2, 1 + 10 * 0.3
    expected = [base + often * math.log(2), base - ago * math.log(2), 0.0, 0.0]
    assert counted(states, own)[0].tolist() == pytest.approx(expected)


def test_a_counted_repeat_term_lifts_what_came_often_and_lately() -> None:
    """In the scores of all items, with the state held fixed: nothing else moves."""
    net = network(repeat_term="counted", followers=0)
    history, length = torch.tensor([[3, 4, 4, 6, 8, 0]]), torch.tensor([5])

    def scores(*shifts: float) -> torch.Tensor:
        assert net.repeat is not None
        with torch.no_grad():
            net.repeat.weight.zero_()
            net.repeat.bias.copy_(torch.tensor(shifts) / 10)
            return score(net.encode(history, length, 5), net.item_vectors())[0]

    without = scores(0, 0, 0)
    moved = {int(item): scores(1, 2, 3)[item] - without[item] for item in range(1, N_ITEMS + 1)}
    since = {3: 4, 4: 2, 6: 1, 8: 0}
    times = {3: 1, 4: 2, 6: 1, 8: 1}
    for item, by in moved.items():
        bonus = 1 + 2 * math.log(times[item]) - 3 * math.log1p(since[item]) if item in since else 0
        assert float(by) == pytest.approx(bonus, abs=1e-5)


def test_chosen_item_vectors_equal_the_table() -> None:
    net = network()
    ids = torch.tensor([[0, 7], [30, 1]])
    with torch.no_grad():
        assert torch.allclose(net.item_vectors(ids), net.item_vectors()[ids])
        assert not net.item_vectors()[0].any()
        table = net.items()
        assert torch.equal(net.item_vectors(table=table), net.item_vectors())
        assert torch.allclose(states(net, ids, table), states(net, ids), atol=1e-6)


@torch.no_grad()
def test_a_new_item_is_one_without_id_and_bias_and_can_be_found() -> None:
    """Items that came after training get the vector of a known one of the same kind, but for id and bias."""
    net = network()
    items = net.items
    alike = items.item_category[1:], items.title_tokens[1:], items.metadata[1:]
    found = net.new_item_vectors(*alike)
    assert not torch.allclose(found, net.item_vectors()[1:])
    assert items.id is not None
    items.id.weight.zero_()
    net.item_bias.weight.zero_()
    known = net.item_vectors()
    torch.testing.assert_close(found, known[1:])

    cells = Cells(build_lists(known, items.item_category[:, -1].numpy(), 5, 1), known)
    cells.add(np.array([N_ITEMS + 1]), 2 * found[6:7])
    ids, _ = cells.search(Queries(found[6:7], torch.zeros(1, 1, dtype=torch.long)), 2, budget=N_ITEMS + 1)
    assert ids[0, 0] == N_ITEMS + 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c, t, m: (c[:, :2], t, m), r"categories: received shape \(4, 2\), allowed: \(4, 3\)"),
        (lambda c, t, m: (c, t, m[:3]), r"metadata: received shape \(3, 1\), allowed: \(4, 1\)"),
        (lambda c, t, m: (c, t[0], m), r"title_tokens: received shape \(3,\), allowed: \(4, T\)"),
        (lambda c, t, m: (c, t[:, 0], m), r"title_tokens: received shape \(4,\), allowed: \(4, T\)"),
        (lambda c, t, m: (c, t[1:], m), r"title_tokens: received shape \(3, \d\), allowed: \(4, T\)"),
        (lambda c, t, m: (c + 9, t, m), r"categories, column 0: received 1\d, allowed: 0 to 1"),
        (lambda c, t, m: (c, t, m - 1), r"metadata, column 0: received -1, allowed: 0 to 2"),
        (lambda c, t, m: (c, t + 5, m), r"title_tokens: received 11, allowed: 0 to 6"),
    ],
)
def test_a_new_item_of_an_unknown_kind_is_refused(change: Any, message: str) -> None:
    net = network()
    of = net.items.item_category[1:5], net.items.title_tokens[1:5], net.items.metadata[1:5]
    with pytest.raises(InputError, match=message):
        net.new_item_vectors(*change(*of))


def test_items_known_by_their_ids_alone_have_no_vector_for_a_new_one() -> None:
    bare = Catalogue(("a",), None, np.zeros((2, 0), np.int64), np.zeros((2, 0), np.int64))
    none = torch.zeros(1, 0, dtype=torch.long)
    with pytest.raises(InputError, match="knows items by their ids alone"):
        build_network(bare, HierSRecSettings(hidden_size=4), max_length=3).new_item_vectors(none, none, none)


def test_a_state_does_not_see_what_comes_after() -> None:
    net = network()
    with torch.no_grad():
        short, long = torch.tensor([[3, 5, 0, 0]]), torch.tensor([[3, 5, 9, 11]])
        assert torch.allclose(states(net, short)[:, :2], states(net, long)[:, :2], atol=1e-6)


def test_levels_are_fed_what_the_level_above_predicts() -> None:
    """Turning the coarse prediction round changes the finer levels and the item query, unless nothing is fed."""
    states = torch.randn(4, 8)
    for feedback, changes in (("soft", True), ("hard", True), ("none", False)):
        net = network(category_feedback=feedback)
        with torch.no_grad():
            before = net.heads(states)
            net.heads.bias[0].copy_(torch.tensor([50.0, -50.0]))
            first = net.heads(states)
            net.heads.bias[0].copy_(torch.tensor([-50.0, 50.0]))
            second = net.heads(states)
        assert (not torch.allclose(first.category_logits[1], second.category_logits[1])) == changes
        assert (not torch.allclose(first.item_query, second.item_query)) == changes
        assert before.item_query.shape == (4, 8)


def start(**settings: Any) -> HierSRecNetwork:
    """A network as training finds it."""
    torch.manual_seed(3)
    chosen = HierSRecSettings(hidden_size=8, metadata_fields=("m",), **settings)
    return build_network(catalogue(), chosen, max_length=8).eval()


@pytest.mark.parametrize("feedback", ["soft", "hard"])
def test_the_item_query_begins_as_the_state_and_learns(feedback: str) -> None:
    net = start(category_feedback=feedback)
    given = torch.randn(4, 8)
    heads = net.heads(given)
    assert torch.equal(heads.item_query, given)
    heads.item_query.sum().backward()
    assert len(net.heads.to_item) == 3
    for passed in net.heads.to_item:
        weight = passed.weight
        assert isinstance(weight, torch.nn.Parameter)
        assert weight.grad is not None
        assert weight.grad.any()


def test_detached_category_scores_begin_with_little_weight() -> None:
    given = {kind: start(category_score=kind) for kind in ("joint", "detached")}
    weights = {kind: F.softplus(net.level_weight).tolist() for kind, net in given.items()}
    assert weights["joint"] == pytest.approx([1.0] * 3)
    assert weights["detached"] == pytest.approx([np.log1p(np.exp(-4))] * 3)


@pytest.mark.parametrize(("encoder", "moves"), [("shared", True), ("separate", False)])
def test_a_separate_category_encoder_does_not_move_the_items(encoder: str, moves: bool) -> None:
    """The loss of the category task reaches the items' tables and the item encoder, or its own encoder alone."""
    net = start(category_encoder=encoder)
    _, heads = net.read(torch.tensor([[3, 5, 9]]), torch.tensor([[False, True, True]]))
    sum(logits.logsumexp(-1).sum() for logits in heads.category_logits).backward()  # type: ignore[union-attr]
    reached = {name for name, p in net.named_parameters() if p.grad is not None and p.grad.any()}
    of_items = {name.split(".")[0] for name in reached}
    assert of_items == ({"items", "encoder", "heads"} if moves else {"category_encoder", "heads"})


@pytest.mark.parametrize(("kind", "moves"), [("joint", True), ("detached", False)])
def test_the_item_task_moves_the_category_task_unless_detached(kind: str, moves: bool) -> None:
    """Through the scores and through what a prediction passes on, both of which it learns to weigh."""
    net = start(category_score=kind, category_encoder="separate")
    with torch.no_grad():
        for passed in net.heads.to_item:
            passed.weight.normal_()  # type: ignore[operator, union-attr]
    _, heads = net.read(torch.tensor([[3, 5, 9]]), torch.tensor([[False, True, True]]))
    (net.queries(heads) @ net.item_vectors().T).square().sum().backward()
    reached = {name for name, p in net.named_parameters() if p.grad is not None and p.grad.any()}
    of_category = ("category_encoder.", "heads.query.", "heads.category.", "heads.bias.")
    assert any(name.startswith(of_category) for name in reached) == moves
    assert {"level_weight", "heads.to_item.0.weight"} <= reached


def test_without_category_vectors_categories_are_in_the_score_alone() -> None:
    """The term q . u + b of each level stays; the item vectors are those of a model that knows no categories."""
    net = start(category_vectors=False)
    assert sorted(net.items.parts(torch.tensor([1]))) == ["id", "m", "title"]
    assert len(net.heads.category) == net.n_scored == 3
    width = net.heads.hidden_size
    vectors = net.item_vectors()
    assert torch.equal(vectors[1:, :width], net.items()[1:])
    for level, table in enumerate(net.heads.category):
        own = table(net.items.item_category[1:, level])
        assert torch.equal(vectors[1:, (1 + level) * width : (2 + level) * width], own)
    new = net.new_item_vectors(
        net.items.item_category[3:4], net.items.title_tokens[3:4], net.items.metadata[3:4]
    )
    assert torch.equal(new[:, width:-1], vectors[3:4, width:-1])
    with pytest.raises(InputError, match="categories, column 2: received 12, allowed: 0 to 11"):
        net.new_item_vectors(torch.tensor([[0, 0, 12]]), net.items.title_tokens[3:4], net.items.metadata[3:4])


def test_metadata_dropout_leaves_whole_items_their_id_alone() -> None:
    net = start(metadata_dropout_prob=0.3)
    whole, ids = net.items(), net.items.parts(torch.arange(N_ITEMS + 1))["id"]
    net.train()
    alone = []
    for _ in range(200):
        vectors = net.items()
        bare = (vectors == ids)[1:].all(1)
        torch.testing.assert_close(vectors[1:][~bare], whole[1:][~bare])
        alone.append(bare.float().mean())
    assert 0.27 < torch.stack(alone).mean() < 0.33
    net.eval()
    assert torch.equal(net.items(), whole)


def test_what_the_item_query_is_told_is_dropped_out() -> None:
    net = start(hidden_dropout_prob=0.5).train()
    with torch.no_grad():
        for passed in net.heads.to_item:
            passed.weight.normal_()  # type: ignore[operator, union-attr]
    states = torch.randn(400, net.heads.hidden_size)
    told = net.heads(states, states).item_query - states
    assert 0.05 < (told == 0).float().mean() < 0.3  # nothing of three levels: an eighth


def test_hard_feedback_is_the_embedding_of_the_likeliest_category() -> None:
    net = network(category_feedback="hard")
    with torch.no_grad():
        logits = torch.tensor([[0.1, 3.0], [2.0, 1.0]])
        table = net.heads.category[0].weight
        assert torch.equal(net.heads._prediction(logits, table), table[torch.tensor([1, 0])])


# --- as a model of RecBole -----------------------------------------------------------------------------------

FIELDS = {"category_fields": ["department", "class"], "title_field": "title", "metadata_fields": ["class"]}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("data"))


def build(shop: Path, **settings: Any) -> tuple[Any, Any]:
    """(model, one training batch) with a fixed seed."""
    values = {**SMALL, **FIELDS, "data_path": str(shop), "train_batch_size": 64, **settings}
    config = Config(model="HierSRec", dataset="shop", config_dict=values)
    init_seed(7, True)
    train = data_preparation(config, create_dataset(config))[0]
    init_seed(7, True)
    model = get_model("HierSRec")(config, train._dataset)
    return model, train._dataset.inter_feat


def outcome(shop: Path, **settings: Any) -> tuple[float, bytes]:
    """Training loss and scores, which together show whether a setting changes anything."""
    model, batch = build(shop, **settings)
    init_seed(9, True)
    loss = model.train().calculate_loss(batch)
    loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= parameter.grad
        return loss.item(), model.eval().full_sort_predict(batch).numpy().tobytes()


CHANGES = {
    "category_fields": ["class"],
    "title_field": "class",
    "metadata_fields": [],
    "title_vocab_size": 50,
    "title_max_tokens": 1,
    "use_item_id": False,
    "hidden_size": 16,
    "n_layers": 2,
    "n_heads": 2,
    "inner_size": 16,
    "hidden_dropout_prob": 0.6,
    "attn_dropout_prob": 0.6,
    "metadata_dropout_prob": 0.4,
    "category_vectors": False,
    "initializer_range": 0.5,
    "category_feedback": "none",
    "category_loss_weight": [0.1, 0.9],
    "category_task": False,
    "category_score": "none",
    "category_encoder": "shared",
    "repeat_term": False,
    "followers": 0,
    "follower_window": 1,
    "follower_items": 1,
    "follower_fields": ["class"],
    "follower_limit": 1,
    "loss": "sampled",
}
SAMPLED_CHANGES = {"n_negatives": 3, "negative_power": 1.0}


@pytest.fixture(scope="module")
def plain(shop: Path) -> tuple[float, bytes]:
    return outcome(shop)


def test_the_table_of_changes_names_every_setting() -> None:
    assert set(CHANGES) | set(SAMPLED_CHANGES) == set(HierSRecSettings.model_fields)


@pytest.mark.parametrize("key", [key for key in CHANGES if key != "title_vocab_size"])
def test_every_setting_changes_something(shop: Path, plain: tuple[float, bytes], key: str) -> None:
    assert outcome(shop, **{key: CHANGES[key]}) != plain


def test_title_vocab_size_changes_something(tmp_path: Path) -> None:
    """Apart, since the shop's titles have fewer than the smallest vocabulary's 50 tokens."""
    path = write_shop(tmp_path) / "shop" / "shop.item"
    text = path.read_text(encoding="utf-8")
    for item in range(10):
        words = " ".join(f"{'abcdefghij'[item]}{a}{b}" for a in "klmnop" for b in "qr")
        text = text.replace(f"thing number {item}", words)
    path.write_text(text, encoding="utf-8")
    assert outcome(tmp_path, title_vocab_size=50) != outcome(tmp_path, title_vocab_size=100)


@pytest.mark.parametrize("key", SAMPLED_CHANGES)
def test_every_setting_of_the_sampled_loss_changes_something(shop: Path, key: str) -> None:
    assert outcome(shop, loss="sampled", **{key: SAMPLED_CHANGES[key]}) != outcome(shop, loss="sampled")


def test_predict_agrees_with_full_sort(shop: Path) -> None:
    model, batch = build(shop)
    model.eval()
    with torch.no_grad():
        scores = model.full_sort_predict(batch)
        chosen = scores.gather(1, batch["item_id"].unsqueeze(1)).squeeze(1)
        assert torch.allclose(model.predict(batch), chosen, atol=1e-5)
        assert scores.shape == (len(batch), 11)


def test_item_only_model_has_no_category_task(shop: Path) -> None:
    model, batch = build(shop, category_fields=[], title_field=None, metadata_fields=[])
    assert model.category_logits(batch) == []
    assert model.item_vectors().shape == (11, 8 + 1)


def test_items_need_some_vector(shop: Path) -> None:
    nothing = {"category_fields": [], "title_field": None, "metadata_fields": []}
    with pytest.raises(InputError, match="use_item_id: false leaves items without a vector"):
        build(shop, use_item_id=False, **nothing)


def test_queries_do_not_depend_on_whether_item_vectors_are_at_hand(shop: Path) -> None:
    model, batch = build(shop)
    model.eval()
    with torch.no_grad():
        assert torch.allclose(
            model.encode(batch, model.item_vectors()).vectors, model.encode(batch).vectors, atol=1e-6
        )


def test_what_a_model_loads_does_not_reach_the_data_set(shop: Path) -> None:
    """The buffers are the model's own: a checkpoint that is loaded overwrites them in place."""
    model, _ = build(shop, metadata_fields=["department"])
    for buffer in model.buffers():
        buffer.zero_()
    assert model.catalogue.taxonomy.item_category.any()
    assert model.catalogue.title_tokens.any()
    assert model.catalogue.metadata.any()


@pytest.mark.parametrize("width", [4, 9])
def test_a_session_is_at_most_what_the_history_holds_and_the_model_reads(shop: Path, width: int) -> None:
    """Of 9 columns the model reads 5: a longer session has to be cut by the one who asks."""
    model, _ = build(shop)
    rows = Interaction(
        {
            "item_id_list": torch.ones(1, width, dtype=torch.long),
            "item_length": torch.tensor([min(width, 5) + 1]),
        }
    )
    with pytest.raises(InputError, match=rf"received {min(width, 5) + 1}, allowed 1\.\.{min(width, 5)}$"):
        model.eval().full_sort_predict(rows)
    rows["item_length"][:] = min(width, 5)
    rows["item_id_list"][:, 5:] = 0
    with torch.no_grad():
        assert torch.isfinite(model.full_sort_predict(rows)).all()


def test_loss_weights_must_match_the_levels(shop: Path) -> None:
    with pytest.raises(InputError, match="received 3 numbers, the model predicts 2 levels"):
        build(shop, category_loss_weight=[0.1, 0.2, 0.3])


def test_a_plain_data_set_is_refused(shop: Path) -> None:
    from recbole.data.dataset import SequentialDataset

    config = Config(model="HierSRec", dataset="shop", config_dict={**SMALL, **FIELDS, "data_path": str(shop)})
    with pytest.raises(InputError, match="needs a HierSRecDataset, received SequentialDataset"):
        get_model("HierSRec")(config, SequentialDataset(config))
