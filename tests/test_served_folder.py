"""Model folders from strangers: whatever a file says, it is refused in one line, before memory is asked for."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from served_folder import N_ITEMS, change_arrays, change_head, make_folder, write_file

from recbole_hiersrec.arrays import check_size
from recbole_hiersrec.errors import CheckpointError, InputError
from recbole_hiersrec.recommend import Recommender
from recbole_hiersrec.serving.calibration import BOUNDS, fit_temperature

WEIGHTS, SERVING = "weights.safetensors", "serving.safetensors"
Change = Callable[[Path], object]


def array(file: str, name: str, change: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Replace one array of a file by what ``change`` makes of it."""
    return lambda folder: change_arrays(
        folder, file, lambda arrays: arrays.update({name: change(arrays[name])})
    )


def config(**values: object) -> Change:
    return lambda folder: change_head(folder, lambda head: head["config"].update(values))


def head(**values: object) -> Change:
    return lambda folder: change_head(folder, lambda content: content.update(values))


def text(name: str, content: object) -> Change:
    return lambda folder: write_file(folder, name, json.dumps(content).encode())


def at(place: object, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        values[place] = value
        return values

    return change


def npz(shape: tuple[int, ...] | None, size: int) -> bytes:
    """An archive whose one array says that it has ``shape`` and holds ``size`` bytes of zeros, well packed."""
    file, entry = io.BytesIO(), io.BytesIO()
    if shape is not None:
        np.lib.format.write_array_header_1_0(entry, {"descr": "<i8", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("item_category.npy", entry.getvalue() + bytes(size))
    return file.getvalue()


TOKENS = [f"i{number}" for number in range(1, N_ITEMS + 1)]
MEMORY = "network.memory.tables.0"
OVERFLOWING = (
    "network.items.category.0.weight",
    "network.items.id.weight",
    "network.items.category.1.weight",
    "network.items.title.weight",
)
REFUSED: dict[str, tuple[Change, str]] = {
    "another version": (head(version=3), "checkpoint version 3; this release reads 1 and 2"),
    "another model": (head(model="SASRec"), "of model SASRec; allowed: HierSRec"),
    "settings are a list": (head(config=[]), "config is a list"),
    "a setting is text": (config(hidden_size="wide"), "hidden_size: input should be a valid integer"),
    "absurd width": (
        config(hidden_size=10**9, n_heads=1),
        "hidden_size 1000000000 and n_layers 1, which are not",
    ),
    "impossible width": (config(hidden_size=10**18, n_heads=1), "hidden_size 1000000000000000000 and"),
    "absurd depth": (config(n_layers=10**9), "n_layers 1000000000, which are not those"),
    "absurd feed-forward": (config(inner_size=10**12), "of another shape: category_encoder.blocks"),
    "more fields": (config(metadata_fields=["brand", "colour"]), "metadata_fields: received 2, weights of 1"),
    "more followers": (config(follower_fields=["b", "brand", "a"]), "memory.tables.3"),
    "no memory wanted": (config(followers=0), "unexpected: memory"),
    "weights of text": (lambda f: write_file(f, WEIGHTS, b"weights"), "cannot be read"),
    "weights claim more": (
        lambda f: write_file(f, WEIGHTS, (2**62).to_bytes(8, "little") + b"{}"),
        "cannot be read",
    ),
    "a weight is not a number": (
        array(WEIGHTS, "network.item_bias.weight", at((5, 0), np.nan)),
        "item_bias.weight is of type torch.float32, or not finite",
    ),
    "a weight is infinite": (array(WEIGHTS, "network.items.id.weight", at((5, 0), np.inf)), "not finite"),
    "vectors overflow": (
        lambda f: change_arrays(f, WEIGHTS, lambda arrays: [arrays[name].fill(1e38) for name in OVERFLOWING]),
        "an item vector is not finite",
    ),
    "double weights": (
        array(WEIGHTS, "network.item_bias.weight", lambda v: v.astype(np.float64)),
        "is of type torch.float64",
    ),
    "category of no taxonomy": (
        array(WEIGHTS, "network.items.item_category", at((3, 1), 999)),
        "items.item_category is not that of the taxonomy",
    ),
    "title token below 0": (array(WEIGHTS, "network.items.title_tokens", at((3, 0), -1)), "a number below 0"),
    "absurd title token": (array(WEIGHTS, "network.items.title_tokens", at((3, 0), 10**12)), "another shape"),
    "absurd metadata": (array(WEIGHTS, "network.items.metadata", at((3, 0), 2**62)), "do not fit"),
    "follower of no item": (array(WEIGHTS, f"{MEMORY}.ids", at((3, 0), N_ITEMS + 1)), "no items or counts"),
    "follower below 0": (array(WEIGHTS, f"{MEMORY}.ids", at((3, 0), -1)), "no items or counts"),
    "a count below 0": (array(WEIGHTS, f"{MEMORY}.counts", at((3, 0, 0), -1)), "no items or counts"),
    "value of no row": (array(WEIGHTS, f"{MEMORY}.value", at(3, N_ITEMS + 1)), "tables of different sizes"),
    "followers cut": (array(WEIGHTS, f"{MEMORY}.counts", lambda v: v[:-1]), "tables of different sizes"),
    "items nested": (lambda f: write_file(f, "items.json", b"[" * 100_000), "items.json is nested too deep"),
    "items are numbers": (text("items.json", [1, 2]), "items.json is no list of item ids"),
    "no items": (text("items.json", []), "items.json is no list of item ids"),
    "an item twice": (text("items.json", [*TOKENS[:-1], "i1"]), "items.json has an item id twice"),
    "an item less": (text("items.json", TOKENS[:-1]), "categories of shape"),
    "a title less": (text("titles.json", ["t"] * (N_ITEMS - 1)), "titles.json is no list of 240 texts"),
    "titles are numbers": (text("titles.json", [7] * N_ITEMS), "titles.json is no list of 240 texts"),
    "a count of popularity below 0": (array(SERVING, "counts", at(4, -1)), "counts of shape"),
    "counts are fractions": (array(SERVING, "counts", lambda v: v.astype(float)), "no row of whole numbers"),
    "an item in two lists": (array(SERVING, "members", at(0, 5)), "lists do not hold each of 240 items once"),
    "lists end early": (array(SERVING, "offsets", at(-1, 239)), "lists overlap"),
    "lists go back": (array(SERVING, "offsets", at(2, 0)), "lists overlap"),
    "a centroid is no number": (
        array(SERVING, "centroids", at((0, 0), np.nan)),
        "centroids: received float32",
    ),
    "narrow centroids": (array(SERVING, "centroids", lambda v: v[:, :3].copy()), "width 3"),
    "a temperature of 0": (array(SERVING, "temperatures", at(0, 0)), "temperatures that are not above 0"),
    "a temperature less": (
        array(SERVING, "temperatures", lambda v: v[:1]),
        "temperatures: received 1, the model predicts 2 levels",
    ),
    "an array less": (
        lambda f: change_arrays(f, SERVING, lambda arrays: arrays.pop("members")),
        "cannot be read: 'members'",
    ),
    "a zip bomb": (
        lambda f: write_file(f, "taxonomy.npz", npz((2**24,), 2**27)),
        "unpacks to 134,217,856 bytes; allowed: at most 67,600,384",
    ),
    "an absurd shape": (
        lambda f: write_file(f, "taxonomy.npz", npz((2**40, 2), 64)),
        "not of the size that it says",
    ),
    "no array": (lambda f: write_file(f, "taxonomy.npz", npz(None, 64)), "damaged"),
    "no archive": (lambda f: write_file(f, "taxonomy.npz", b"PK"), "taxonomy.npz is damaged"),
    "a file more": (lambda f: write_file(f, "evil.pkl", b"cos"), "it lists the files"),
    "a file less": (lambda f: (f / "titles.json").unlink(), "titles.json is missing"),
    "a file changed": (lambda f: (f / "titles.json").write_text("[]"), "titles.json is damaged"),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("models") / "m")


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_stranger_may_write_is_refused_in_one_line(sound: Path, tmp_path: Path, case: str) -> None:
    change, message = REFUSED[case]
    folder = tmp_path / "m"
    shutil.copytree(sound, folder)
    change(folder)
    with pytest.raises(CheckpointError, match=message) as raised:
        Recommender.load(folder)
    assert len(str(raised.value).splitlines()) == 1
    assert str(folder) in str(raised.value)


def test_vectors_that_no_machine_holds_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """240 items and PAD, 8 (1 + 2) + 1 numbers of 4 bytes each: 24,100 bytes."""
    folder = make_folder(tmp_path / "m")
    monkeypatch.setattr("os.sysconf", lambda name: 1 if name == "SC_PHYS_PAGES" else 24_099)
    with pytest.raises(CheckpointError, match="item vectors take 24,100 bytes; this machine has 24,099"):
        Recommender.load(folder)
    monkeypatch.setattr("os.sysconf", lambda name: 1 if name == "SC_PHYS_PAGES" else 24_100)
    assert Recommender.load(folder).n_items == N_ITEMS


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "there is no checkpoint.json"),
        (lambda path: path.mkdir(), "there is no checkpoint.json"),
        (lambda path: path.write_text("model"), "there is no checkpoint.json"),
    ],
)
def test_a_folder_that_is_no_model(tmp_path: Path, make: Callable[[Path], object], message: str) -> None:
    make(tmp_path / "m")
    with pytest.raises(CheckpointError, match=message):
        Recommender.load(tmp_path / "m")


def test_size_of_archives(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.zeros((10, 3)), b=np.array(["x", "yy"]))
    held = sum(entry.file_size for entry in zipfile.ZipFile(path).infolist())
    check_size(path, held)
    with pytest.raises(InputError, match=f"unpacks to {held} bytes; allowed: at most {held - 1}"):
        check_size(path, held - 1)
    np.savez(path, a=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="not of the size that it says"):
        check_size(path, 10_000)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_makes_probabilities_those_of_the_cases(temperature: float) -> None:
    """Of 100 cases 70, 20 and 10 are of three categories; logits T log p say so at temperature T."""
    chances = torch.tensor([0.7, 0.2, 0.1])
    target = torch.tensor([0] * 70 + [1] * 20 + [2] * 10)
    found = fit_temperature((temperature * chances.log()).expand(100, 3), target)
    assert found == pytest.approx(temperature, rel=1e-3)


def test_temperatures_have_bounds() -> None:
    right = torch.tensor([[5.0, 0.0]] * 4)
    assert BOUNDS[0] <= fit_temperature(right, torch.zeros(4, dtype=torch.long)) < 0.2
    assert 19.9 < fit_temperature(right, torch.ones(4, dtype=torch.long)) <= BOUNDS[1]


def test_a_score_that_is_not_finite_is_no_answer(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "m")
    array(WEIGHTS, "network.items.id.weight", lambda values: np.full_like(values, 3e38 / 8))(folder)
    with pytest.raises(InputError, match="received a score that is not finite"):
        Recommender.load(folder).recommend([["i1"]], 3)
