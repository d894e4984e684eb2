"""register() as a user's plain script sees it, on the user's own atomic files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from atomic_files import write_shop

import recbole_hiersrec
from recbole_hiersrec import compat
from recbole_hiersrec.errors import CheckpointError
from recbole_hiersrec.names import MODELS

SCRIPT = """
import json, sys, warnings
from pathlib import Path
import recbole_hiersrec

recbole_hiersrec.register()
recbole_hiersrec.register()

import torch
from recbole.config import Config
from recbole.quick_start import load_data_and_model, run_recbole
from recbole.utils import get_model, get_trainer

settings = dict(gpu_id="", epochs=2, train_batch_size=4, MAX_ITEM_LIST_LENGTH=5, hidden_size=8, inner_size=8,
    n_layers=1, n_heads=1, metrics=["Recall", "NDCG"], topk=[3], valid_metric="NDCG@3", show_progress=False)
result = run_recbole(
    model="HierSRec", dataset="shop", config_file_list=["mine.yaml"], config_dict=dict(settings)
)
config = Config(model="HierSRec", dataset="shop", config_file_list=["mine.yaml"])
model_class = get_model("HierSRec")
saved = [str(path.parent) for path in Path("checkpoints").rglob("checkpoint.json")]
loaded_config, model, dataset, train, valid, test = load_data_and_model(saved[0])
trainer = get_trainer(loaded_config["MODEL_TYPE"], "HierSRec")(loaded_config, model)
again = trainer.evaluate(test, load_best_model=False)
pop = run_recbole(model="SequentialPop", dataset="shop", config_file_list=["mine.yaml"],
    config_dict=dict(metrics=["Recall"], topk=[3], valid_metric="Recall@3", gpu_id="", show_progress=False))
plain = run_recbole(model="SASRec", dataset="shop", config_dict=dict(settings, data_path="data",
    checkpoint_dir="checkpoints", train_neg_sample_args=None))
print(json.dumps(dict(
    classes=[model_class.__name__, type(model).__name__, type(dataset).__name__, type(trainer).__name__],
    fields=config["category_fields"], learning_rate=config["learning_rate"],
    levels=dataset.catalogue.taxonomy.n_levels,
    same=dict(result["test_result"]) == dict(again), saved=len(saved), rows=len(train._dataset),
    pop=list(pop["test_result"]), plain=list(plain["test_result"]),
    anomaly=torch.is_anomaly_enabled(), ray="ray" in sys.modules,
)))
warnings.warn("of the script", FutureWarning)
"""


@pytest.mark.slow
def test_a_plain_script_trains_and_loads_on_the_users_files(tmp_path: Path) -> None:
    write_shop(tmp_path / "data")
    (tmp_path / "mine.yaml").write_text(
        "data_path: data\ncheckpoint_dir: checkpoints\ncategory_fields: [department, class]\n",
        encoding="utf-8",
    )
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "PYTHONWARNINGS"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert found["classes"] == ["HierSRec", "HierSRec", "HierSRecDataset", "HierSRecTrainer"]
    assert found["fields"] == ["department", "class"]
    assert found["levels"] == 2
    assert found["learning_rate"] == 0.001
    assert found["same"] is True  # what run_recbole measured, measured on the loaded model
    assert found["saved"] == 1
    assert found["rows"] == 12  # one row covers the 3 training targets of a session
    assert found["pop"] == ["recall@3"]
    assert found["plain"] == ["recall@3", "ndcg@3"]
    assert (found["anomaly"], found["ray"]) == (False, False)
    assert re.findall("FutureWarning: (.*)", done.stderr) == ["of the script"]
    assert all(any(folder.iterdir()) for folder in (tmp_path / "checkpoints").iterdir())
    assert sorted(os.listdir(tmp_path)) == ["checkpoints", "data", "mine.yaml", "script.py"]


def test_a_folder_that_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a checkpoint of recbole_hiersrec"):
        compat.load_data_and_model(tmp_path)


def test_every_model_is_found_by_recbole() -> None:
    recbole_hiersrec.register()
    import recbole.data.dataset
    from recbole.utils import ModelType, get_model, get_trainer

    for name in MODELS:
        assert get_model(name).__name__ == name
        assert get_trainer(ModelType.SEQUENTIAL, name).__name__ == "HierSRecTrainer"
        assert getattr(recbole.data.dataset, f"{name}Dataset").__name__ == "HierSRecDataset"
    assert get_trainer(ModelType.SEQUENTIAL, "SASRec").__name__ == "Trainer"
    assert not hasattr(recbole.data.dataset, "SASRecDataset")
