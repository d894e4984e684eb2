"""Which model was meant."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from recbole_hiersrec import compat, names
from recbole_hiersrec.errors import HierSRecError, InputError


def test_recbole_models_have_exact_class_names() -> None:
    found = names.recbole_sequential_models()
    assert {"SASRec", "GRU4Rec", "NARM", "S3Rec", "LightSANs"} <= set(found)
    assert not {"BPR", "sasrec", "lightgbm"} & set(found)


@pytest.mark.parametrize(
    "name", [*names.MODELS, "SASRec", "collections:OrderedDict", "xml.dom.minidom:Document"]
)
def test_known_models_pass(name: str) -> None:
    names.check_model(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("HierSrec", r"unknown model 'HierSrec'; did you mean 'HierSRec'\? \(allowed: HierSRec, "),
        ("Sasrec", "did you mean 'SASRec'"),
        ("BPR", "unknown model 'BPR'"),
        ("no_such_package.models:Mine", "no module named 'no_such_package.models' can be found"),
        ("xml.no_such_part:Mine", "no module named 'xml.no_such_part'"),
        ("json.decoder.deeper:Mine", "no module named 'json.decoder.deeper'"),
        ("json:", "expected package.module:Class"),
        (":Mine", "expected package.module:Class"),
        ("../json:Mine", "expected package.module:Class"),
    ],
)
def test_unknown_models_are_refused_in_one_line(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        names.check_model(name)
    assert "\n" not in str(caught.value)


def test_checking_a_class_path_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loud").mkdir()
    (tmp_path / "loud" / "__init__.py").write_text("raise RuntimeError('imported')", encoding="utf-8")
    (tmp_path / "loud" / "model.py").write_text("class Mine: pass\nraise RuntimeError", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    names.check_model("loud.model:Mine")
    assert "loud" not in sys.modules


def test_load_model_class() -> None:
    from collections import OrderedDict

    assert names.load_model_class("collections:OrderedDict") is OrderedDict
    compat.apply_fixes()
    assert names.load_model_class("SASRec").__name__ == "SASRec"
    assert names.load_model_class("MarkovChain").__name__ == "MarkovChain"


def test_load_model_class_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="defines no class 'OrderedDic'; did you mean 'OrderedDict'"):
        names.load_model_class("collections:OrderedDic")
    with pytest.raises(InputError, match="defines no class 'namedtuple'"):
        names.load_model_class("collections:namedtuple")
    (tmp_path / "needs_more.py").write_text("import no_such_package\nclass Mine: ...", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="cannot be imported: No module named 'no_such_package'"):
        names.load_model_class("needs_more:Mine")


def test_without_recbole_the_pip_command_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "find_spec", lambda name: None)
    with pytest.raises(HierSRecError, match=r"not installed; run: pip install --no-deps recbole==1\.2\.1"):
        compat.require_recbole()


def test_another_recbole_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import recbole

    monkeypatch.setattr(recbole, "__version__", "1.3.0")
    with pytest.raises(HierSRecError, match=r"RecBole 1\.2\.1 is needed, found 1\.3\.0"):
        compat.require_recbole()
