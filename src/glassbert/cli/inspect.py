"""`glassbert inspect …`: every tensor, every head, on a model of your own."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from glassbert.cli.findings import Kind, ModelName, shows
from glassbert.cli.flags import takes
from glassbert.settings import ReadingSettings

if TYPE_CHECKING:
    from glassbert.inspect import Finding

inspect = typer.Typer(
    name="inspect",
    help="Look into a model: its shapes, heads, attention, outputs, costs, tokens. Each shows numbers from a real run.",
    rich_markup_mode="rich",
)


@inspect.command()
@shows
def tree(
    model: ModelName,
    kind: Kind = None,
) -> Finding:
    """Show the modules that the model is made of, with their sizes, and that its layers run one after the other.

    Example: glassbert inspect tree FOLDER
    """
    from glassbert import inspect as room

    return room.tree(model, kind=kind)


@inspect.command()
@shows
def heads(
    model: ModelName,
    text: Annotated[str | None, typer.Argument(metavar="TEXT", help="What is run.", show_default="a sentence")] = None,
    layer: Annotated[int, typer.Option("--layer", help="The layer whose heads are listed, from 0.")] = 0,
    kind: Kind = None,
) -> Finding:
    """Show which rows and columns of the weights belong to each head, and prove it by computing each head alone.

    Example: glassbert inspect heads FOLDER
    """
    from glassbert import inspect as room

    return room.heads(model, text, layer=layer, kind=kind)


@inspect.command()
@shows
def why(
    topic: Annotated[
        Literal["mask", "positions", "layer-norm", "dropout", "feed-forward", "activation", "transform"],
        typer.Argument(metavar="TOPIC", help="What is asked about.", show_default=False),
    ],
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="Model folder, or hub name; none for transform.", show_default=False),
    ] = None,
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT...", help="What is run.", show_default="some sentences")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Of each training of transform.", min=1, show_default="300")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", help="Pairs of trainings of transform.", min=1, show_default="3")
    ] = None,
    kind: Kind = None,
) -> Finding:
    """Answer a question that one asks while reading BERT's source, by an experiment on the model.

    Topics: mask (why added and not multiplied), positions (position_embedding_type and the einsums), layer-norm (why
    not BatchNorm), dropout (where and why there), feed-forward (what for), activation (why GELU, how far off is the
    tanh form), transform (is it needed before the decoder; trains pairs of small models, a minute or two).

    Example: glassbert inspect why mask FOLDER
    """
    from glassbert import inspect as room
    from glassbert.cli.displays import StepsDisplay

    with StepsDisplay() as display:
        return room.why(topic, model, texts or None, kind=kind, steps=steps, seeds=seeds, on_step=display.show)


@inspect.command()
@shows
def tokens(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Model folder, one with a vocab.txt alone, or name on the hub; the model itself is not loaded.",
            show_default=False,
        ),
    ],
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="Any text.", show_default="the words of --word")
    ] = None,
    pair: Annotated[
        str | None, typer.Argument(metavar="PAIR", help="The second text of a pair.", show_default="none")
    ] = None,
    word: Annotated[
        list[str] | None,
        typer.Option("--word", help="Show how this word is split; may be given more than once.", show_default=False),
    ] = None,
) -> Finding:
    """Show how a text becomes ids: cleaned, split into words, and these into pieces of the vocabulary.

    Also which words are unknown and why, and where Google's rules would give other tokens.

    Example: glassbert inspect tokens FOLDER "An unaffable café" --word unaffable
    """
    from glassbert import inspect as room
    from glassbert.errors import InputError

    words = word or []
    if text is None and not words:
        raise InputError("there is no text; give one, or --word with a word")
    return room.tokens(model, " ".join(words) if text is None else text, pair, words=words)


@inspect.command()
@shows
def training(
    model: ModelName,
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT...|FILE...",
            help="Texts to mask and pair, or files, with empty lines between documents.",
            show_default="a few sentences of our own",
        ),
    ] = None,
    kind: Kind = None,
    steps: Annotated[int, typer.Option("--steps", help="Steps of the optimizer.")] = 1_000,
    warmup: Annotated[int, typer.Option("--warmup", help="How many of them the rate goes up.")] = 100,
    learning_rate: Annotated[float, typer.Option("--lr", help="The highest learning rate.")] = 5e-5,
    weight_decay: Annotated[float, typer.Option("--weight-decay", help="Decay of the weights that have one.")] = 0.01,
    layer_decay: Annotated[
        float | None,
        typer.Option(
            "--layer-decay", help="Factor of the rate from one layer to the one below.", show_default="one rate"
        ),
    ] = None,
    length: Annotated[int, typer.Option("--length", help="Most tokens of a sequence of the masks and pairs.")] = 64,
    seed: Annotated[int, typer.Option("--seed", help="Of what is chosen by chance.")] = 0,
) -> Finding:
    """Show how the model would be trained: what decays, how the learning rate goes, what is masked and paired.

    Nothing is trained. Schedules, masks and pairs are made by what training itself uses.

    Example: glassbert inspect training FOLDER corpus.txt --steps 10000 --warmup 1000
    """
    import os

    from glassbert import inspect as room
    from glassbert.data.readers import FORMATS

    def read(one: str) -> str | Path:
        """Take for a file what is one, or has the ending of one."""
        ending = Path(one.lower().removesuffix(".gz")).suffix
        return Path(one) if ending in (*FORMATS, ".txt") or os.path.exists(one) else one

    return room.training(
        model,
        [read(one) for one in texts] if texts else None,
        kind=kind,
        steps=steps,
        warmup=warmup,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        layer_decay=layer_decay,
        length=length,
        seed=seed,
    )


@inspect.command()
@shows
def attribution(
    model: ModelName,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What is classified.", show_default=False)],
    pair: Annotated[
        str | None, typer.Argument(metavar="PAIR", help="The second text of a pair.", show_default="none")
    ] = None,
    label: Annotated[
        str | None,
        typer.Option("--label", help="The class whose score is explained.", show_default="the predicted one"),
    ] = None,
    steps: Annotated[
        int,
        typer.Option("--steps", help="Points at which gradients are taken, at first; doubled while they are too few."),
    ] = 50,
    words: Annotated[bool, typer.Option("--words", help="Join the pieces of each word.")] = False,
) -> Finding:
    """Show which tokens of a text made a classifier say what it says, by integrated gradients.

    The attributions sum to what the text changes in the score, which is checked;
    the baseline has [PAD] in the place of all words. For models of
    text-classification, multi-label-classification and regression.

    Example: glassbert inspect attribution OUT "The soup was cold."
    """
    from glassbert import inspect as room

    return room.attribution(model, text, pair, label=label, steps=steps, words=words)


@inspect.command()
@takes(ReadingSettings)
@shows
def outputs(
    settings: ReadingSettings,
    model: ModelName,
    texts: Annotated[
        list[str],
        typer.Argument(
            metavar="TEXT...|FILE...",
            help="Texts; or files of labelled texts, told by their endings (.csv, .tsv, .jsonl, .json, .parquet) or by "
            "--format.",
            show_default=False,
        ),
    ],
    pair: Annotated[
        str | None, typer.Option("--pair", help="The second text that goes with each.", show_default=False)
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", help="Most examples that are taken; 0 takes all.", min=0, show_default="500"),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Decides which examples are drawn.", show_default="0")
    ] = None,
    kind: Kind = None,
) -> Finding:
    """Show what BERT returns, with numbers; and on labelled texts which of its vectors tells the classes apart best.

    last_hidden_state, pooler_output, hidden_states and attentions: their shapes,
    what they hold, what they are computed from, and how alike vectors are in
    each layer. On a file of labelled texts also [CLS], the pooler, means and
    maxima over the tokens, compared by what a linear classifier tells from them;
    nothing in the model is trained.

    Example: glassbert inspect outputs FOLDER "How old are you?" "What is your age?" --class BertModel
    """
    from glassbert.cli.bulk import what_is_given
    from glassbert.errors import InputError

    given = what_is_given(texts, settings)
    if "-" in given.files:
        raise InputError("outputs does not read standard input (-); give texts or a file")
    if given.files and pair is not None:
        raise InputError(f"--pair goes with texts, and {given.files[0]} is a file; name its column with --pair-column")
    for name, value in (("--limit", limit), ("--seed", seed)):
        if given.texts and value is not None:
            raise InputError(f"{name} is given, which is about files, and there is none")
    from glassbert import inspect as room

    found: Finding
    if given.texts:
        seconds = None if pair is None else [pair] * len(given.texts)
        found = room.outputs(model, given.texts, pair=seconds, kind=kind)
    else:
        found = room.pooling(
            model,
            given.files,
            reading=settings,
            limit=500 if limit is None else limit or None,
            seed=seed or 0,
            kind=kind,
        )
    return found


@inspect.command(name="torch-encoder")
@shows
def torch_encoder(
    model: ModelName,
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help="What both read; none: random token ids.", show_default=False),
    ] = None,
    kind: Kind = None,
) -> Finding:
    """Show how the model's layers differ from torch.nn.TransformerEncoderLayer, weight by weight, with both run.

    The layers are put into torch's encoder and both read the same input, by torch's fast path, without it, and in
    training. Every difference is listed, with what it would do to this model.

    Example: glassbert inspect torch-encoder FOLDER "a text"
    """
    from glassbert import inspect as room

    return room.torch_encoder(model, texts or None, kind=kind)


@inspect.command()
@takes(ReadingSettings)
@shows
def compare(
    settings: ReadingSettings,
    a: Annotated[str, typer.Argument(metavar="A", help="Model folder, or name on the hub.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="The other.", show_default=False)],
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="Labelled data as evaluate reads them, or a .txt file of a text each line.",
            show_default="some English sentences",
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", help="Most examples that are taken; 0 takes all.", min=0)] = 1000,
) -> Finding:
    """Put two models side by side: configs, vocabularies, weights, what they see in texts, what they answer.

    Weights are compared by place and part, to the bit; what the layers make of texts by CKA, each layer of A with each
    of B, whatever their depth and width. Models that have learned the same task answer the file, and what they answer
    differently is shown.

    Example: glassbert inspect compare BEFORE AFTER test.tsv
    """
    from glassbert import inspect as room

    return room.compare(a, b, file, limit=limit or None, reading=settings)


AttentionName = Literal["eager", "sdpa", "packed", "varlen"]
OptimizerName = Literal["adamw", "lamb", "momentum", "sgd"]


@inspect.command()
@shows
def shapes(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="Model folder, or name on the hub; without one, --width, --layers and --heads make a random model.",
            show_default=False,
        ),
    ] = None,
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT...", help="Texts of one batch.", show_default=False)
    ] = None,
    ids: Annotated[
        list[str] | None,
        typer.Option(
            "--ids",
            help="In place of texts, a row of token ids, such as 101,7592,102; several of these make a batch. The id "
            "of padding at the end of a row is padding.",
            show_default=False,
        ),
    ] = None,
    backend: Annotated[
        AttentionName,
        typer.Option(
            "--backend",
            help="How attention is computed: eager, padded with scores and weights in sight; sdpa, padded; packed, "
            "without padding, as models do by themselves; varlen, the same on CUDA.",
        ),
    ] = "eager",
    width: Annotated[int | None, typer.Option("--width", help="Of a random model: H.", show_default=False)] = None,
    layers: Annotated[int | None, typer.Option("--layers", help="Of a random model.", show_default="2")] = None,
    heads: Annotated[int | None, typer.Option("--heads", help="Of a random model: A.", show_default="2")] = None,
    intermediate: Annotated[
        int | None, typer.Option("--intermediate", help="Of a random model: I.", show_default="4 times the width")
    ] = None,
    vocab: Annotated[
        int | None, typer.Option("--vocab", help="Of a random model: words, V.", show_default="30522")
    ] = None,
    labels: Annotated[
        int | None,
        typer.Option("--labels", help="Of a random model, which classifies: classes, C.", show_default=False),
    ] = None,
    kind: Kind = None,
) -> Finding:
    """Show the shape of everything from input_ids to the logits, in letters and in numbers, as one real run has it.

    Each step stands with its parameters, FLOPs, bytes and the line of source that does it.

    Example: glassbert inspect shapes FOLDER "one text" "another"

    Without a model: glassbert inspect shapes --width 464 --layers 2 --heads 8 --labels 5 --ids 101,1188,102
    """
    from glassbert.errors import ConfigError, InputError

    sizes = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": intermediate,
        "vocab_size": vocab,
        "num_labels": labels,
    }
    given = {name: size for name, size in sizes.items() if size is not None}
    if model is not None and given:
        raise ConfigError(
            f"{model!r} is a model, and --width and what goes with it are of a random one; give one or the other"
        )
    if model is None and width is None:
        raise ConfigError("there is no model; give a folder or a name, or --width for a random one")
    rows = [_ids(row) for row in ids or []]
    if model is None and not rows:
        raise InputError("a random model has no tokenizer; give it rows of token ids with --ids")
    from glassbert import inspect as room
    from glassbert.inspect.shapes import random_model
    from glassbert.model import BertConfig, BertPreTrainedModel

    subject: BertPreTrainedModel | str
    if model is not None:
        subject = model
    else:
        usual = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 4 * (width or 0)}
        chosen = kind or ("BertModel" if labels is None else "BertForSequenceClassification")
        config = BertConfig.from_dict({**usual, "is_decoder": chosen == "BertLMHeadModel", **given})
        subject, kind = random_model(config, chosen), None
    return room.shapes(subject, texts, kind=kind, input_ids=rows or None, backend=backend)


def _ids(row: str) -> list[int]:
    """Read a row of token ids.

    Raises:
        InputError: something else stands there.
    """
    from glassbert.errors import InputError

    parts = [part.strip() for part in row.split(",")]
    wrong = [part for part in parts if not (part.isascii() and part.isdigit())]
    if wrong:
        raise InputError(f"--ids {row!r} holds {wrong[0]!r}, expected whole numbers with commas: 101,7592,102")
    return [int(part) for part in parts]


@inspect.command()
@shows
def attention(
    model: ModelName,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The text; may be empty.", show_default=False)],
    pair: Annotated[
        str | None, typer.Argument(metavar="PAIR", help="The second text of a pair.", show_default="none")
    ] = None,
    layer: Annotated[
        int | None, typer.Option("--layer", help="Look at this layer closer, from 0.", show_default="none")
    ] = None,
    head: Annotated[
        int | None, typer.Option("--head", help="And at this head of it, from 0.", show_default="none")
    ] = None,
    kind: Kind = None,
) -> Finding:
    """Show which token looks at which, in every layer and head, and what each head mostly looks at.

    The weights come from a run on your text. The page of --html has views to click through: arcs, a matrix, and how
    each weight comes about from queries and keys. With --layer and --head the terminal shows the weights of that head,
    and --png draws them.

    Example: glassbert inspect attention FOLDER "The cat sat down." --layer 2 --head 5 --html attention.html
    """
    from glassbert import inspect as room

    return room.attention(model, text, pair, layer=layer, head=head, kind=kind)


@inspect.command()
@shows
def parameters(
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="Model folder, or name on the hub.", show_default=False),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option("--preset", help="A published size without weights, such as base, in place of MODEL."),
    ] = None,
    batch: Annotated[int, typer.Option("--batch", help="Texts of a batch.")] = 8,
    length: Annotated[
        int | None, typer.Option("--length", help="Tokens of each text.", show_default="128, or as many as fit")
    ] = None,
    optimizer: Annotated[
        OptimizerName, typer.Option("--optimizer", help="What trains; momentum is SGD with it.")
    ] = "adamw",
    memory: Annotated[
        float | None, typer.Option("--memory", help="GB that it has to fit into: say what does.", show_default=False)
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Run the model to measure memory and time, some seconds.")
    ] = True,
    kind: Kind = None,
) -> Finding:
    """Show where parameters, operations and memory go, what checkpointing and chunks save, and what fits.

    What memory takes is said by a formula and measured beside it. A large model is measured with fewer or shorter texts
    than were asked for, and training that would take several GB is not measured; the result says so.

    Example: glassbert inspect parameters FOLDER --batch 8 --length 128 --memory 16
    """
    from glassbert.errors import ConfigError

    if (model is None) == (preset is None):
        given = "both are given" if preset is not None else "neither is given"
        raise ConfigError(f"expected either a MODEL or a --preset, but {given}; give one")
    from glassbert import inspect as room
    from glassbert.cli.printing import notes
    from glassbert.model import BertConfig

    # One of the two is there.
    subject = BertConfig.preset(str(preset)) if model is None else model
    with notes().status("running the model") if measure and model else contextlib.nullcontext():
        return room.parameters(
            subject, batch=batch, length=length, optimizer=optimizer, memory=memory, measure=measure, kind=kind
        )
