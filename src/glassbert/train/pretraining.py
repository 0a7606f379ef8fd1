"""The recipe `pretrain`: shards of text in, a pretrained model folder out."""

from __future__ import annotations

import dataclasses
import difflib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, cast

import torch
from torch import Tensor

from glassbert.checkpoint import check_vocabulary, load_config, load_model, load_tokenizer
from glassbert.data.masking import Masking
from glassbert.data.preparing import masking_of
from glassbert.data.shards import Sequences, Shards
from glassbert.errors import ConfigError, DataError
from glassbert.files import check_output
from glassbert.model import BertConfig, BertForMaskedLM, BertForPreTraining, BertPreTrainedModel, losses
from glassbert.settings import PretrainSettings
from glassbert.tasks.batching import by_tokens
from glassbert.tasks.task import Metrics
from glassbert.text import BertTokenizer
from glassbert.text.vocabulary import vocabulary_hash
from glassbert.train.devices import Devices, joined
from glassbert.train.events import Notice, OnEvent, Progress, TrainingResult, silent
from glassbert.train.interruption import Interruption
from glassbert.train.judge import Judge
from glassbert.train.loop import computing, fit
from glassbert.train.outputs import save_result
from glassbert.train.reading import Phase, Reader, Visit, Visits
from glassbert.train.run import Run, check_begin, patient, run_of

NAME: Final = "pretraining"
# Seconds from one word on how far something is to the next.
_TELL_EVERY: Final = 1.0
# Evaluations of a run where nobody says how many.
_EVALUATIONS: Final = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainingMetrics(Metrics):
    """How well a model guesses masked words, and tells pairs, of held-out text.

    Attributes:
        loss: the sum of both losses, in nats.
        masked_lm_loss: mean cross-entropy over the masked words, in nats.
        masked_lm_accuracy: share of them that is guessed right.
        unigram_entropy: in nats, of how often each word occurs among these masked words. A model that knew this, and
            nothing of a word's neighbours, would have this loss.
        next_sentence_loss, next_sentence_accuracy: likewise for pairs; of `sop` shards, for their order. None for
            shards without pairs.
        next_sentence_chance: the accuracy of always giving the more frequent answer.
        words: how many masked words there are.
        examples: how many sequences.
    """

    main_name: ClassVar[str] = "loss"
    lower_is_better: ClassVar[tuple[str, ...]] = (
        "loss",
        "masked_lm_loss",
        "next_sentence_loss",
        "unigram_entropy",
    )

    loss: float
    masked_lm_loss: float
    masked_lm_accuracy: float
    unigram_entropy: float
    next_sentence_loss: float | None
    next_sentence_accuracy: float | None
    next_sentence_chance: float | None
    words: int
    examples: int


def pretrain(settings: PretrainSettings, *, on_event: OnEvent = silent) -> TrainingResult:
    """Pretrain a BERT on shards that `prepare` has made, and save it.

    The result is a model folder as that of `finetune`: weights, tokenizer, `settings.yaml`, `training.json`, a report
    and a card. Shards of pairs give a `BertForPreTraining`, those of words alone a `BertForMaskedLM`.

    Args:
        settings: on what, of which size or going on from which model, how, and where to.
        on_event: called with every step, evaluation and notice; may raise `StopTraining` to end early.

    Raises:
        GlassbertError: one of its kinds, before training begins where that can be known before; see `glassbert.errors`.
        KeyboardInterrupt: Ctrl-C; the state after the last step is saved first, and `resume` goes on from it. So it is
            at SIGTERM, which ends the process.

    Started by `torchrun`, each process calls this, as `finetune`.
    """
    if not isinstance(settings, PretrainSettings):
        expected = "PretrainSettings(…) or PretrainSettings.read(file)"
        raise ConfigError(f"settings is of type {type(settings).__name__}, expected {expected}")
    if not callable(on_event):
        raise ConfigError(f"on_event is of type {type(on_event).__name__}, expected a function of an event")
    with joined(settings.device) as devices:
        return _pretrain(settings, patient(on_event) if devices.first else silent, devices)


def _pretrain(settings: PretrainSettings, on_event: OnEvent, devices: Devices) -> TrainingResult:
    started = time.perf_counter()
    phases = [Shards(folder) for folder in settings.folders]
    held_out = [Shards(settings.validation)] if settings.validation is not None else phases[:1]
    needed = [shards.folder for shards in (*phases, *held_out)]
    out = check_output(settings.out, overwrite=settings.overwrite, keep=[*needed, settings.model or needed[0]])
    check_begin(settings, out)
    notes: list[str] = []

    def say(message: str) -> None:
        notes.append(message)
        on_event(Notice(message=message))

    with run_of(settings, devices, on_event) as run:
        tokenizer = _tokenizer_of([*phases, *held_out])
        masking = _masking_of(settings, phases, tokenizer)
        config = _config_of(settings, [*phases, *held_out], tokenizer)
        _check_phases(settings, phases)
        _check_evaluated(settings, held_out[0])
        if settings.check:
            _check_files([*phases, *held_out], run)
        model = _model_of(settings, phases[0], config, tokenizer, say)
        tokenizer.model_max_length = model.config.max_position_embeddings
        run.separate()
        settings = _with_evaluations(settings)
        parts = [Phase(shards.training, steps) for shards, steps in zip(phases, settings.steps_of_phases, strict=True)]
        visits = Visits(parts, settings.batch_size * settings.accumulation, settings.seed)
        reader = Reader(parts, masking, settings.seed)
        judge = _PretrainingJudge(
            model.to(devices.device), held_out[0], masking, settings, run.on_event, devices, run.interruption
        )
        if not judge.measures:
            say("nothing is held out: no figures but those of the training itself")
        elif settings.validation is not None and held_out[0].fingerprint() in [one.fingerprint() for one in phases]:
            say("the validation shards are among those of the training; their figures say little")
        for line in _facts(phases, settings, model):
            say(line)
        keeper = run.keeper(_told(phases, held_out, model, tokenizer), {"judge": judge})
        history = fit(
            model,
            visits,
            reader,
            settings,
            weight=reader.weights,
            loss=pretraining_loss,
            batches=visits.batches,
            on_step=run.on_event,
            on_evaluation=judge.evaluate,
            devices=devices,
            keeper=keeper,
            interruption=run.interruption,
            named=lambda places: _named(phases, [visits[place] for place in places]),
        )
        seconds = time.perf_counter() - started
        judge.finish()
        result = TrainingResult(
            name=NAME,
            task=None,
            folder=out,
            history=history,
            evaluations=tuple(judge.evaluations),
            saved=judge.saved,
            test=None,
        )
        if devices.first:
            save_result(
                result,
                model,
                tokenizer,
                run.settings,
                overwrite=settings.overwrite,
                data=_data_of(phases, held_out),
                seconds=seconds,
                verdicts=(),
                notes=notes,
                on_event=run.on_event,
            )
        devices.wait()
        run.finish()
        return result


def pretraining_loss(model: BertPreTrainedModel, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the losses and accuracies of a batch that `Reader` has made; see `pretraining_losses` of the model."""
    return cast(BertForPreTraining | BertForMaskedLM, model).pretraining_losses(**batch)


class _PretrainingJudge(Judge):
    """Measures both losses on held-out shards, with masks that are the same in every evaluation and every run.

    Attributes:
        measures: whether there is something to measure on.
    """

    def __init__(
        self,
        model: BertPreTrainedModel,
        shards: Shards,
        masking: Masking,
        settings: PretrainSettings,
        on_event: OnEvent,
        devices: Devices,
        interruption: Interruption,
    ) -> None:
        super().__init__(model, settings, on_event)
        sequences = _measured(settings, shards)
        count = min(len(sequences), settings.held_out_sequences)
        # Evenly spread, since neighbours are of one document.
        numbers = [place * len(sequences) // count for place in range(count)] if count else []
        self._visits = [Visit(0, *one) for one in zip(numbers, [0] * count, sequences.lengths(numbers), strict=True)]
        self._reader = Reader([Phase(sequences, 1)], masking, 0, measuring=True)
        self._devices, self._interruption = devices, interruption
        self._precision, self._budget = settings.precision, settings.token_budget
        self.measures = bool(count)

    @torch.inference_mode()
    def measure(self) -> PretrainingMetrics | None:
        """Measure the weights as they are now."""
        if not self.measures:
            return None
        self._model.eval()
        own = self._devices.share(self._visits)
        totals: dict[str, float] = {}
        weights: dict[str, float] = {}
        counts = torch.zeros(self._model.config.vocab_size, dtype=torch.float64)
        labels = 0
        done, told = 0, time.monotonic()
        for group in by_tokens([len(visit) for visit in own], self._budget):
            if self._devices.alone:
                self._interruption.check()
            some = [own[place] for place in group]
            batch = self._reader(some)
            with computing(self._model, self._precision):
                found = pretraining_loss(self._model, self._devices.to_device(batch))
            for name, weight in self._reader.weights(some).items():
                totals[name] = totals.get(name, 0.0) + float(found[name]) * weight
                weights[name] = weights.get(name, 0.0) + weight
            words = batch["labels"][batch["labels"] != losses.IGNORED]
            counts += torch.bincount(words, minlength=len(counts)).double()
            labels += int(batch["next_sentence_label"].sum()) if "next_sentence_label" in batch else 0
            done += len(some)
            if time.monotonic() - told >= _TELL_EVERY:
                told = time.monotonic()
                self._on_event(Progress(doing="evaluating held-out text", done=done, total=len(own)))
        return self._joined(totals, weights, counts, labels)

    def _joined(
        self, totals: Mapping[str, float], weights: Mapping[str, float], counts: Tensor, labels: int
    ) -> PretrainingMetrics:
        """Add up what all processes have measured."""
        everywhere = self._devices.gathered((totals, weights, counts, labels))
        names = list(dict.fromkeys(name for one in everywhere for name in one[0]))
        whole = {name: sum(one[1].get(name, 0.0) for one in everywhere) for name in names}
        means = {name: sum(one[0].get(name, 0.0) for one in everywhere) / max(1.0, whole[name]) for name in names}
        counts = torch.stack([one[2] for one in everywhere]).sum(dim=0)
        shares = counts[counts > 0] / counts.sum()
        label = sum(one[3] for one in everywhere) / len(self._visits)
        pairs = "next_sentence_loss" in means
        return PretrainingMetrics(
            loss=means["masked_lm_loss"] + means.get("next_sentence_loss", 0.0),
            masked_lm_loss=means["masked_lm_loss"],
            masked_lm_accuracy=means["masked_lm_accuracy"],
            unigram_entropy=float(-(shares * shares.log()).sum()),
            next_sentence_loss=means.get("next_sentence_loss"),
            next_sentence_accuracy=means.get("next_sentence_accuracy"),
            next_sentence_chance=max(label, 1.0 - label) if pairs else None,
            words=int(counts.sum()),
            examples=len(self._visits),
        )


# -- what a run is made of ---------------------------------------------------------------------------


def _tokenizer_of(several: Sequence[Shards]) -> BertTokenizer:
    """Return the tokenizer that all shards were made with.

    Raises:
        ConfigError: they were made with several, or have different objectives.
    """
    first = several[0]
    for shards in several[1:]:
        if shards.vocabulary != first.vocabulary:
            raise ConfigError(f"{shards.folder} and {first.folder} were prepared with different vocabularies")
        if shards.objective != first.objective:
            raise ConfigError(
                f"{shards.folder} was prepared for {shards.objective}, {first.folder} for {first.objective}; one model "
                "learns one of them"
            )
    return first.tokenizer()


def _masking_of(settings: PretrainSettings, phases: Sequence[Shards], tokenizer: BertTokenizer) -> Masking:
    for name in ("masked_share", "max_predictions", "whole_words"):
        if getattr(settings, name) and all(shards.training.static for shards in phases):
            raise ConfigError(f"{name} is given, but the words to guess were chosen when the shards were prepared")
    return masking_of(tokenizer, settings.masked_share, settings.max_predictions, settings.whole_words)


def _config_of(settings: PretrainSettings, several: Sequence[Shards], tokenizer: BertTokenizer) -> BertConfig:
    """Return the config of the model: of a preset, or of the model that is gone on with.

    Raises:
        ConfigError: one that no model can have, or that does not fit the shards.
    """
    longest = max(shards.max_length for shards in several)
    names = [field.name for field in dataclasses.fields(BertConfig)]
    if strange := [name for name in settings.model_config if name not in names]:
        near = difflib.get_close_matches(strange[0], names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "see the fields of BertConfig"
        raise ConfigError(f"model_config has no setting {strange[0]!r}; {hint}")
    if settings.model is not None:
        config = load_config(settings.model)
        theirs = load_tokenizer(type(tokenizer), settings.model)
        if vocabulary_hash(theirs.get_vocab()) != several[0].vocabulary:
            raise ConfigError(
                f"{several[0].folder} was prepared with another vocabulary than that of {settings.model}; prepare the "
                f"text with --vocab {settings.model}"
            )
        config = dataclasses.replace(config, **settings.model_config) if settings.model_config else config
    else:
        sizes = {
            "vocab_size": max(tokenizer.get_vocab().values()) + 1,
            "pad_token_id": tokenizer.pad_token_id,
            "max_position_embeddings": max(512, longest),
        }
        config = BertConfig.preset(cast(str, settings.preset), **{**sizes, **settings.model_config})
    check_vocabulary(tokenizer, config)
    if config.is_decoder:
        raise ConfigError("is_decoder is true, but masked words are guessed from both sides")
    if several[0].training.pairs and config.type_vocab_size < 2:
        raise ConfigError(f"type_vocab_size is {config.type_vocab_size}, but the shards have pairs of two types")
    if config.max_position_embeddings < longest:
        raise ConfigError(
            f"the shards have sequences of up to {longest} tokens, but the model takes "
            f"{config.max_position_embeddings}; prepare shorter ones"
        )
    return config


def _check_phases(settings: PretrainSettings, phases: Sequence[Shards]) -> None:
    batch = settings.batch_size * settings.accumulation
    for shards in phases:
        if len(shards.training) < batch:
            raise DataError(
                f"holds {len(shards.training)} sequences, fewer than the {batch} of one step; lower batch_size or "
                "prepare more text",
                file=shards.folder,
            )


def _check_evaluated(settings: PretrainSettings, held_out: Shards) -> None:
    """Refuse what asks for figures that there will not be.

    Raises:
        ConfigError: nothing is held out, or there is no such figure.
    """
    sequences = _measured(settings, held_out)
    if not len(sequences):
        for name in ("evaluate_every", "metric", "keep", "patience"):
            if getattr(settings, name) not in (None, "last"):
                raise ConfigError(
                    f"{name} is {getattr(settings, name)!r}, but {held_out.folder} holds nothing out; give validation, "
                    "or prepare it with held_out"
                )
    if settings.metric is not None:
        pairs = 0.0 if sequences.pairs else None
        PretrainingMetrics(
            loss=0.0,
            masked_lm_loss=0.0,
            masked_lm_accuracy=0.0,
            unigram_entropy=0.0,
            next_sentence_loss=pairs,
            next_sentence_accuracy=pairs,
            next_sentence_chance=pairs,
            words=0,
            examples=0,
        ).figure(settings.metric)


def _measured(settings: PretrainSettings, held_out: Shards) -> Sequences:
    """Return what is measured on: shards that were given for validation as a whole, else what was held out."""
    return held_out.training if settings.validation is not None else held_out.held_out


def _check_files(several: Sequence[Shards], run: Run) -> None:
    """Compare all files with the manifests; the first process does, for all.

    Raises:
        DataError: one is not as it was written.
        Interrupted: somebody wants the process to end.
    """
    devices, refused = run.devices, None
    if devices.first:
        told = time.monotonic()

        def tell(done: int, total: int) -> None:
            nonlocal told
            # Some shards are read for many minutes; where others wait, they are told with the first step.
            if devices.alone:
                run.interruption.check()
            if time.monotonic() - told >= _TELL_EVERY:
                told = time.monotonic()
                run.on_event(Progress(doing="checking the shards, MB", done=done // 10**6, total=total // 10**6))

        try:
            for shards in {shards.folder: shards for shards in several}.values():
                shards.check(tell)
        except DataError as error:
            refused = error
    refused = devices.from_first(refused)
    if refused is not None:
        raise refused


def _model_of(
    settings: PretrainSettings,
    shards: Shards,
    config: BertConfig,
    tokenizer: BertTokenizer,
    say: Callable[[str], object],
) -> BertPreTrainedModel:
    kind = BertForMaskedLM if shards.objective == "mlm" else BertForPreTraining
    if settings.model is None:
        return kind(config)
    # What the folder has of both heads is gone on with; a bare model, or one of words alone, lacks some.
    model = load_model(kind, settings.model, config=config, optional=(r"^cls\.", r"^bert\.pooler\."))
    if model.loading_info.fresh:
        say(f"new, with random weights: {', '.join(model.loading_info.fresh)}")
    theirs = load_tokenizer(type(tokenizer), settings.model)
    for name in ("do_lower_case", "strip_accents", "tokenize_chinese_chars"):
        ours, before = getattr(tokenizer, name), getattr(theirs, name)
        if ours != before:
            place = Path(settings.model).name
            say(f"{name} was {before} in {place}; the shards were prepared with {ours}, which is kept")
    return model


def _with_evaluations(settings: PretrainSettings) -> PretrainSettings:
    if settings.evaluate_every is not None:
        return settings
    return dataclasses.replace(settings, evaluate_every=math.ceil(cast(int, settings.steps) / _EVALUATIONS))


def _facts(phases: Sequence[Shards], settings: PretrainSettings, model: BertPreTrainedModel) -> list[str]:
    """Say what is going to be read how often."""
    found = []
    batch = settings.batch_size * settings.accumulation
    parameters = sum(parameter.numel() for parameter in model.parameters())
    for shards, steps in zip(phases, settings.steps_of_phases, strict=True):
        times = steps * batch / len(shards.training)
        found.append(
            f"{shards.folder.resolve().name}: {len(shards.training):,} sequences, {shards.training.tokens:,} tokens, "
            f"{steps:,} steps of {batch}: each is read {times:.2g} times"
        )
    return [*found, f"{parameters:,} parameters"]


def _told(
    phases: Sequence[Shards], held_out: Sequence[Shards], model: BertPreTrainedModel, tokenizer: BertTokenizer
) -> dict[str, Any]:
    """Return what makes a run the run that it is, beside its settings."""
    return {
        "task": NAME,
        "data": {
            "shards": [shards.fingerprint() for shards in phases],
            "held-out": [shards.fingerprint() for shards in held_out],
        },
        "model": model.config.to_dict(),
        "vocabulary": vocabulary_hash(tokenizer.get_vocab()),
    }


def _data_of(phases: Sequence[Shards], held_out: Sequence[Shards]) -> dict[str, Any]:
    """Return what stands in the record of a run."""

    def of(several: Sequence[Shards], held: bool) -> dict[str, Any]:
        parts = [shards.held_out if held else shards.training for shards in several]
        return {
            "files": [str(shards.folder) for shards in several],
            "sha256": [shards.fingerprint() for shards in several],
            "examples": sum(map(len, parts)),
            "tokens": sum(part.tokens for part in parts),
            "skipped": 0,
        }

    return {"training": of(phases, False), "validation": of(held_out, held_out[0] is phases[0])}


def _named(phases: Sequence[Shards], visits: Sequence[Visit]) -> str:
    """Say which sequences a step has read."""
    shown = ", ".join(str(visit.number) for visit in visits[:10]) + (" …" if len(visits) > 10 else "")
    return f"sequences {shown} of {phases[visits[0].phase].folder}"
