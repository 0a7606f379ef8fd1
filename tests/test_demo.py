"""The demo from the built wheel in an environment of its own, and what its result can do."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

from glassbert.cli.main import main
from glassbert.data import LANGUAGES, load_sentences

ROOT = Path(__file__).resolve().parents[1]
LINGUA = ROOT.parent / "shared" / "data" / "langid_lingua" / "sentences"


def run(*command: str | Path, folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def wheel(place: Path) -> Path:
    """Build the wheel as a release would."""
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", place, ROOT, folder=place)
    (built,) = place.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def program(place: Path, wheel: Path) -> Path:
    """Install the wheel into an empty environment that borrows nothing but the dependencies."""
    venv.create(place / "venv", with_pip=False)
    python = place / "venv" / "bin" / "python"
    packages = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=place).strip()
    # A path line makes the installed dependencies importable; an editable glassbert among them is found by a .pth file
    # of its own, which is not read there.
    Path(packages, "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
    ]
    run(*pip, "--force-reinstall", wheel, folder=place)
    where = run(python, "-c", "import glassbert; print(glassbert.__file__)", folder=place).strip()
    assert Path(where).is_relative_to(place)
    return place / "venv" / "bin" / "glassbert"


@pytest.fixture(scope="module")
def demo(place: Path, program: Path) -> tuple[Path, dict[str, Any]]:
    """Run the whole demo once, as a new user does; return its folder and the metrics of the model in it."""
    out = run(program, "demo", "--out", place / "first bert", folder=place)
    report = json.loads((place / "first bert" / "training.json").read_text(encoding="utf-8"))
    metrics = {
        name: value for name, value in report["evaluations"][-1].items() if name not in ("epoch", "step", "main")
    }
    assert f"accuracy {metrics['accuracy']:.4f}" in out
    # One line for each new sentence, all of them right.
    assert re.findall(r"^  (\w\w) [01]\.\d{3}  \S", out, flags=re.MULTILINE) == ["de", "en", "es", "fr", "zh"]
    assert out.count(" predict ") == out.count(" evaluate ") == out.count(" train ") == 1
    return place / "first bert", metrics


def test_the_wheel_holds_the_data_the_types_and_the_licence_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    for name in ("data/languages.train.jsonl", "data/languages.test.jsonl", "py.typed"):
        assert f"glassbert/{name}" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"glassbert"}


def test_it_learns_to_tell_the_languages_apart(demo: tuple[Path, dict[str, Any]]) -> None:
    folder, metrics = demo
    assert metrics["accuracy"] >= 0.98
    assert metrics["labels"] == list(LANGUAGES)
    assert metrics["examples"] == len(load_sentences("test"))
    assert {file.name for file in folder.iterdir()} == {
        "README.md",
        "config.json",
        "confusion_matrix.png",
        "learning_curve.png",
        "model.safetensors",
        "report.html",
        "settings.yaml",
        "tokenizer.json",
        "tokenizer_config.json",
        "training.json",
        "vocab.txt",
    }
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["hidden_size"] == 464


def test_predict_on_its_folder(demo: tuple[Path, dict[str, Any]], program: Path, place: Path) -> None:
    texts = {"de": "Wo ist hier der nächste Arzt?", "fr": "Elle n'a rien dit à sa sœur.", "zh": "我们明天再说吧。"}
    out = run(program, "predict", demo[0], *texts.values(), "--json", folder=place)
    assert [json.loads(line)["label"] for line in out.splitlines()] == list(texts)


def test_evaluate_gives_the_metrics_that_training_gave(
    demo: tuple[Path, dict[str, Any]], program: Path, place: Path
) -> None:
    data = ROOT / "src" / "glassbert" / "data" / "languages.test.jsonl"
    assert json.loads(run(program, "evaluate", demo[0], data, "--json", folder=place)) == demo[1]


def test_real_sentences_from_elsewhere(demo: tuple[Path, dict[str, Any]], program: Path, place: Path) -> None:
    if not LINGUA.is_dir():
        pytest.skip("the sentences of langid_lingua are not on this machine")
    file = place / "lingua.tsv"
    with file.open("w", encoding="utf-8") as target:
        for language in LANGUAGES:
            lines = (LINGUA / f"{language}.txt").read_bytes().decode("utf-8").split("\n")
            target.writelines(f"{line.strip()}\t{language}\n" for line in lines if line.strip())
    columns = ["--text-column", "0", "--label-column", "1", "--no-header", "--json"]
    metrics = json.loads(run(program, "evaluate", demo[0], file, *columns, folder=place))
    assert metrics["examples"] == 4 * 800 + 583
    assert metrics["accuracy"] >= 0.95


SMALL_DEMO = """
import dataclasses, hashlib, pathlib, sys
from glassbert.train import DEMO_TRAINING, demo
some = demo.load_sentences
demo.load_sentences = lambda part: some(part)[::20]
demo.VOCABULARY_SIZE = 2000
result = demo.run_demo(sys.argv[1], training=dataclasses.replace(DEMO_TRAINING, epochs=1))
print({f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(pathlib.Path(sys.argv[1]).iterdir())
       if f.name not in ("training.json", "report.html", "README.md")})  # they tell time and memory
print(result.history[-1].loss, result.metrics)
"""


def test_the_same_seed_gives_the_same_files_to_the_bit(tmp_path: Path) -> None:
    # Two processes with different string hashing, from raw text to the pictures.
    outputs = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", SMALL_DEMO, str(tmp_path / seed)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        outputs.append(done.stdout)
    assert "model.safetensors" in outputs[0]
    assert outputs[0] == outputs[1]


def test_the_command_prints_its_metrics_for_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("glassbert.train.demo.load_sentences", lambda part: load_sentences(part)[::20])
    monkeypatch.setattr("glassbert.train.demo.VOCABULARY_SIZE", 2000)
    assert main(["demo", "--out", str(tmp_path / "out"), "--epochs", "1", "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)
    assert metrics["examples"] == len(load_sentences("test")[::20])
