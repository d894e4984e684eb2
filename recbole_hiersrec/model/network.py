"""HierSRec without RecBole: encoder, heads and item vectors put together, and the score as one inner product.

Axes: B sessions, L length, D width, A augmented width, N items (ids 1..N, 0 is PAD), M levels.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbole_hiersrec.data.catalogue import Catalogue
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.model.encoder import SessionEncoder
from recbole_hiersrec.model.heads import HeadsOutput, HierarchicalHeads
from recbole_hiersrec.model.items import ItemVectors
from recbole_hiersrec.model.memory import Memory
from recbole_hiersrec.model.repeats import OwnItems, RepeatTerm, own_items
from recbole_hiersrec.queries import Apart, Queries, join_apart
from recbole_hiersrec.settings import HierSRecSettings

_ONE = 0.541324854612918  # softplus(_ONE) = 1


class HierSRecNetwork(nn.Module):
    """s(i) = z . v_i + sum_m w_m (q_m . u_m[c_m(i)] + b_m[c_m(i)]) + b_i, with w_m = softplus(.) >= 0.

    The score is one inner product of :meth:`queries` with :meth:`item_vectors`, of width A = D (1 + M) + 1, so any
    maximum-inner-product index serves it exactly. With ``repeat_term`` the items that the session already holds
    get that on top, which learns whether this kind of session repeats items; with ``memory`` those that followed
    its last items in training get theirs. Both are few items, so they are scored apart.

    Args:
        items: vectors of the N items.
        encoder: of sessions, for the item task.
        heads: of M levels; 0 leaves the category task out.
        initializer_range: standard deviation of all embeddings at the start.
        category_encoder: of sessions, for the category task; None: it has the states of the item task.
        repeat_term: whether the session's own items get a :class:`RepeatTerm`; "counted": the counted one.
        memory: of what followed the items in training; None: no bonus for that.
        category_score: "joint": the levels' terms are in the score; "detached": the item task does not train them;
            "none": they are not in it.
    """

    def __init__(
        self,
        items: ItemVectors,
        encoder: SessionEncoder,
        heads: HierarchicalHeads,
        initializer_range: float,
        *,
        category_encoder: SessionEncoder | None = None,
        repeat_term: bool | str = False,
        memory: Memory | None = None,
        category_score: str = "joint",
    ) -> None:
        super().__init__()
        self.items = items
        self.encoder = encoder
        self.category_encoder = category_encoder
        self.heads = heads
        self.n_scored = 0 if category_score == "none" else len(heads.category)
        self.detached = category_score == "detached"
        self.level_weight = nn.Parameter(torch.full((self.n_scored,), -4.0 if self.detached else _ONE))
        self._initialise(initializer_range)
        self.item_bias = nn.Embedding.from_pretrained(
            torch.zeros(items.n_items + 1, 1), freeze=False, sparse=items.sparse
        )
        self.repeat = RepeatTerm(heads.hidden_size, repeat_term == "counted") if repeat_term else None
        self.memory = memory

    def _initialise(self, std: float) -> None:
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=std)
                if module.padding_idx is not None:
                    nn.init.zeros_(module.weight[module.padding_idx])

    def read(self, history: Tensor, where: Tensor, table: Tensor | None = None) -> tuple[Tensor, HeadsOutput]:
        """Encode sessions and run the heads where it is asked for.

        Args:
            history: [B, L] item ids, or positions in ``table``.
            where: positions that are wanted, T of them: a mask [B, L], or one position of each session, long [B].
            table: [U, D], vectors at hand; None: those of the items.

        Returns:
            States [T, D], and what the heads make of them.
        """
        inputs = self.items(history) if table is None else F.embedding(history, table)  # [B, L, D]
        encoders = [(self.encoder, inputs)]
        if self.category_encoder is not None:
            encoders.append((self.category_encoder, inputs.detach()))
        if where.dtype == torch.bool:
            states = [encoder(vectors)[where] for encoder, vectors in encoders]
        else:
            states = [encoder(vectors, where) for encoder, vectors in encoders]
        return states[0], self.heads(*states)

    def own(self, history: Tensor, rows: Tensor, positions: Tensor) -> OwnItems | None:
        """What the repeat term looks at, None if there is none; arguments as those of :func:`own_items`."""
        return None if self.repeat is None else own_items(history, rows, positions, self.repeat.counted)

    def apart(
        self, states: Tensor, own: OwnItems | None, known: Tensor, odds: Tensor, once: bool = True
    ) -> Apart | None:
        """Items that get a bonus: the session's own, and those that the memory knows.

        Args:
            states: [T, D].
            own: items of each session; None: they get no bonus.
            known: items that the memory knows, 0-padded, [T, E].
            odds: that it gives them, [T, E].
            once: put the two bonuses of an item together, so that it stands there once; that takes T x E x L steps.

        Returns:
            The session's own items (if there is a repeat term), then the known ones; None if there is neither.
        """
        remembered = None if self.memory is None else self.memory.bonus(states, known, odds)
        if self.repeat is None or own is None:
            return remembered
        repeated = Apart(own.ids, self.repeat(states, own))
        if remembered is None:
            return repeated
        if once:
            return join_apart(repeated, remembered)
        ids, bonuses = zip((repeated.ids, repeated.bonus), (remembered.ids, remembered.bonus), strict=True)
        return Apart(torch.cat(ids, 1), torch.cat(bonuses, 1))

    def encode(
        self, history: Tensor, length: Tensor, longest: int, item_vectors: Tensor | None = None
    ) -> Queries:
        """Augmented queries of sessions, and what else the score needs to know of them.

        Args:
            history: [B, L] item ids, 0-padded on the right.
            length: number of items of each session, [B], at least 1.
            longest: the largest of them.
            item_vectors: what :meth:`item_vectors` gave, if it is at hand: its first D columns are the vectors of
                the session's items, which then need not be computed again.

        Returns:
            Vectors [B, A], the histories, the items scored apart, and the category logits [B, C_m] of each level.
        """
        table = None if item_vectors is None else item_vectors[:, : self.heads.hidden_size]
        rows, last = torch.arange(len(history), device=history.device), length - 1
        # What is padding in all rows changes nothing, and costs as much as items do.
        states, heads = self.read(history[:, :longest], last, table)
        apart = self.apart(states, self.own(history, rows, last), *self.recall(history, length, rows, last))
        return Queries(self.queries(heads), history, apart, tuple(heads.category_logits))

    def recall(
        self, history: Tensor, length: Tensor, rows: Tensor, positions: Tensor, target: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Items that the memory knows at each position [T], and their odds, [T, E]; see :class:`Memory`."""
        if self.memory is None:
            return history.new_zeros(len(rows), 0), torch.zeros(len(rows), 0, device=history.device)
        return self.memory.recall(history, length, rows, positions, target)

    def queries(self, heads: HeadsOutput) -> Tensor:
        """Augmented queries [..., A] = [z; w_1 q_1; ...; w_M q_M; 1]."""
        weights = F.softplus(self.level_weight)
        parts = [heads.item_query]
        parts += [
            weights[level] * self._scored(heads.category_queries[level]) for level in range(self.n_scored)
        ]
        return torch.cat([*parts, torch.ones_like(heads.item_query[..., :1])], dim=-1)

    def _scored(self, of_category: Tensor) -> Tensor:
        """What the item task sees of the category task: its values, and unless detached its gradients."""
        return of_category.detach() if self.detached else of_category

    def item_vectors(self, ids: Tensor | None = None, table: Tensor | None = None) -> Tensor:
        """Augmented item vectors [v_i; u_1[c_1(i)]; ...; u_M[c_M(i)]; sum_m w_m b_m[c_m(i)] + b_i].

        Args:
            ids: [...]; None for the whole table, [N + 1, A], whose row 0 (PAD) is 0.
            table: their item vectors [..., D], if computed already.
        """
        if ids is None:
            ids = torch.arange(self.items.n_items + 1, device=self.item_bias.weight.device)
        vectors = self.items(ids) if table is None else table
        bias = self.item_bias(ids).squeeze(-1)
        found = self._augmented(vectors, self.items.item_category[ids], bias)
        return found * (ids > 0).unsqueeze(-1)

    def new_item_vectors(self, categories: Tensor, title_tokens: Tensor, metadata: Tensor) -> Tensor:
        """Augmented vectors [n, A] of items that came after training: id vector and bias are 0.

        They can be added to an index (:meth:`~recbole_hiersrec.retrieval.cells.Cells.add`); nothing is trained.

        Args:
            categories: number of each item's category on every level, long [n, M].
            title_tokens: ids of the title's tokens, 0-padded, long [n, T]; T is 0 without titles.
            metadata: number of each field's value, 0 where it has none, long [n, F].

        Raises:
            InputError: a shape or a number that the network does not know.
        """
        tables: list[tuple[str, Tensor, Any]] = [
            ("categories", categories, self.items.category_sizes),
            ("metadata", metadata, [table.num_embeddings for table in self.items.fields]),
        ]
        for what, given, sizes in tables:
            wanted = (len(categories), len(sizes))
            if given.shape != wanted:
                raise InputError(f"{what}: received shape {tuple(given.shape)}, allowed: {wanted}")
            for column, size in enumerate(sizes):
                _check_range(f"{what}, column {column}", given[:, column], size)
        title: Any = self.items.title
        if title is not None:
            if title_tokens.dim() != 2 or len(title_tokens) != len(categories):
                received = f"received shape {tuple(title_tokens.shape)}"
                raise InputError(f"title_tokens: {received}, allowed: ({len(categories)}, T)")
            _check_range("title_tokens", title_tokens, title.num_embeddings)
        vectors = sum(self.items.described(categories, title_tokens, metadata).values())
        if not isinstance(vectors, Tensor):
            raise InputError("this network knows items by their ids alone; it has no vector for a new one")
        return self._augmented(vectors, categories, vectors.new_zeros(len(vectors)))

    def _augmented(self, vectors: Tensor, item_category: Tensor, bias: Tensor) -> Tensor:
        """[v; u_1[c_1]; ...; u_M[c_M]; sum_m w_m b_m[c_m] + b], of [..., D], [..., M] and [...]."""
        weights = F.softplus(self.level_weight)
        parts = [vectors]
        for level in range(self.n_scored):
            categories = item_category[..., level]
            parts.append(self._scored(self.heads.category[level](categories)))
            bias = bias + weights[level] * self._scored(self.heads.bias[level][categories])
        return torch.cat([*parts, bias.unsqueeze(-1)], dim=-1)


def _check_range(what: str, values: Tensor, size: int) -> None:
    low, high = (int(values.min()), int(values.max())) if values.numel() else (0, 0)
    if low < 0 or high >= size:
        raise InputError(f"{what}: received {low if low < 0 else high}, allowed: 0 to {size - 1}")


def build_network(
    catalogue: Catalogue,
    settings: HierSRecSettings,
    max_length: int,
    *,
    sparse: bool = False,
    memory: Memory | None = None,
) -> HierSRecNetwork:
    """Put a network together for the items of ``catalogue``.

    Args:
        catalogue: side information of the items.
        settings: of the model.
        max_length: longest session L.
        sparse: see :class:`ItemVectors`.
        memory: of what followed each item in training; None: no bonus for it.

    Raises:
        InputError: the settings leave items without a vector.
    """
    taxonomy = catalogue.taxonomy
    in_vectors = taxonomy if settings.category_vectors else None
    if not (settings.use_item_id or in_vectors or catalogue.title_tokens.size or catalogue.metadata.size):
        raise InputError(
            "use_item_id: false leaves items without a vector; name category, title or metadata fields"
        )
    sizes = taxonomy.sizes if taxonomy else ()
    item_category = taxonomy.item_category if taxonomy else catalogue.metadata[:, :0]
    names = (*(taxonomy.levels if taxonomy else ()), *settings.metadata_fields)
    items = ItemVectors(
        n_items=catalogue.n_items,
        hidden_size=settings.hidden_size,
        category_sizes=sizes,
        item_category=torch.from_numpy(item_category),
        title_tokens=torch.from_numpy(catalogue.title_tokens),
        metadata=torch.from_numpy(catalogue.metadata),
        use_item_id=settings.use_item_id,
        sparse=sparse,
        names=_distinct(names),
        category_vectors=settings.category_vectors,
        metadata_dropout=settings.metadata_dropout_prob,
    )
    heads = HierarchicalHeads(
        hidden_size=settings.hidden_size,
        category_sizes=sizes if settings.category_task else (),
        feedback=settings.category_feedback,
        dropout=settings.hidden_dropout_prob,
        detached=settings.category_score == "detached",
    )
    separate = settings.category_encoder == "separate" and bool(heads.category)
    return HierSRecNetwork(
        items,
        _encoder(settings, max_length),
        heads,
        settings.initializer_range,
        category_encoder=_encoder(settings, max_length) if separate else None,
        repeat_term=settings.repeat_term,
        memory=memory,
        category_score=settings.category_score,
    )


def _encoder(settings: HierSRecSettings, max_length: int) -> SessionEncoder:
    return SessionEncoder(
        hidden_size=settings.hidden_size,
        max_length=max_length,
        n_layers=settings.n_layers,
        n_heads=settings.n_heads,
        inner_size=settings.inner_size,
        hidden_dropout=settings.hidden_dropout_prob,
        attn_dropout=settings.attn_dropout_prob,
    )


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names of an item vector's summands, each a name of its own: "class", "class (2)"."""
    taken = ["id", "title"]
    for name in names:
        numbers = (f"{name} ({number})" for number in itertools.count(2))
        taken.append(next(free for free in itertools.chain([name], numbers) if free not in taken))
    return tuple(taken[2:])
