"""`python -m bench NAME`: encode, gpu, cost, picture, train, finetune, pretrain, tasks, load, start or tokenize."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from bench import cost, encode, finetune, gpu, load, pretrain, start, tasks, tokenize, train
from bench.encode.measure import MODELS, Case
from bench.encode.peers import FAMILIES, SENTENCES
from bench.encode.picture import draw
from bench.encode.profiles import TEXTS


def main() -> None:
    """Read the arguments and run one benchmark."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Speed of glassbert beside its peers.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("encode", "texts to token vectors, beside every peer"),
        ("gpu", "the same on a CUDA device, in bfloat16"),
        ("cost", "time by length and by batch, beside what the arithmetic takes"),
        ("train", "optimizer steps of a classifier"),
        ("finetune", "whole fine-tunings: time, accuracy, memory"),
        ("pretrain", "pretraining of fresh models: time, losses"),
        ("tasks", "every task beside transformers' Trainer: figure, time, memory"),
        ("load", "a folder to a model"),
        ("start", "imports and the command's help, in fresh processes"),
        ("tokenize", "texts to padded batches, files to ids"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--json", type=Path, help="also write the figures to this file")
        if name == "finetune":
            command.add_argument(
                "--data", choices=("sst2", "chnsenticorp"), default="sst2", help="default: %(default)s"
            )
            command.add_argument("--seeds", type=int, default=3, help="how many (default: %(default)s)")
            command.add_argument("--epochs", type=int, default=1, help="default: %(default)s")
            command.add_argument(
                "--examples", type=int, default=1280, help="most of each set; 0 takes all (default: %(default)s)"
            )
            continue
        if name == "pretrain":
            command.add_argument("--preset", default="4x256", help="shapes of the model (default: %(default)s)")
            command.add_argument("--steps", type=int, default=8, help="of each run (default: %(default)s)")
            command.add_argument("--batch-size", type=int, default=64, help="pairs of a step (default: %(default)s)")
            command.add_argument("--rounds", type=int, default=3, help="runs of each (default: %(default)s)")
            command.add_argument("--rate", type=float, default=1e-4, help="learning rate (default: %(default)s)")
            continue
        if name in ("encode", "cost"):
            command.add_argument("--rounds", type=int, default=3, help="counted rounds (default: %(default)s)")
            command.add_argument("--picture", type=Path, help="also draw the figures: a .png")
            command.add_argument(
                "--threads", type=int, default=torch.get_num_threads(), help="of every library (default: %(default)s)"
            )
            if name == "encode":
                _encode_arguments(command)
            continue
        command.add_argument("--rounds", type=int, default=5, help="counted rounds (default: %(default)s)")
        if name == "gpu":
            command.add_argument("--texts", type=int, default=256, help="how many texts (default: %(default)s)")
        elif name == "load":
            command.add_argument("--threads", type=int, default=1, help="of torch (default: %(default)s)")
        elif name == "train":
            command.add_argument("--steps", type=int, default=6, help="steps of a round (default: %(default)s)")
        elif name == "tasks":
            command.add_argument("--examples", type=int, default=640, help="to learn from (default: %(default)s)")
            command.add_argument("--epochs", type=int, default=1, help="passes over them (default: %(default)s)")
            command.add_argument("--seeds", type=int, default=1, help="runs of each side (default: %(default)s)")
            command.add_argument("--task", action="append", default=[], help="this one alone; may be repeated")
    command = commands.add_parser("picture", help="a picture of figures that encode wrote")
    command.add_argument("file", type=Path, help="a .json")
    command.add_argument("picture", type=Path, help="a .png")
    command.add_argument("--section", type=int, default=0, help="of the file, counted from 0 (default: %(default)s)")
    given = parser.parse_args()
    if given.command == "encode":
        _encode(given)
    elif given.command == "gpu":
        gpu.run(texts=given.texts, rounds=given.rounds, file=given.json)
    elif given.command == "cost":
        cost.run(rounds=given.rounds, threads=given.threads, file=given.json, picture=given.picture)
    elif given.command == "picture":
        draw(encode.read(given.file)[given.section], given.picture)
    elif given.command == "finetune":
        finetune.run(
            data=given.data, seeds=given.seeds, epochs=given.epochs, examples=given.examples or None, file=given.json
        )
    elif given.command == "pretrain":
        pretrain.run(
            preset=given.preset,
            steps=given.steps,
            batch=given.batch_size,
            rounds=given.rounds,
            rate=given.rate,
            file=given.json,
        )
    elif given.command == "load":
        load.run(rounds=given.rounds, threads=given.threads, file=given.json)
    elif given.command == "start":
        start.run(rounds=given.rounds, file=given.json)
    elif given.command == "tasks":
        seeds, only = given.seeds, given.task
        tasks.run(examples=given.examples, epochs=given.epochs, seeds=seeds, only=only, file=given.json)
    elif given.command == "tokenize":
        tokenize.run(rounds=given.rounds, file=given.json)
    else:
        train.run(steps=given.steps, rounds=given.rounds, file=given.json)


def _encode_arguments(command: argparse.ArgumentParser) -> None:
    names = ", ".join((*FAMILIES, SENTENCES))
    command.add_argument("--model", choices=MODELS, default="minilm", help="default: %(default)s")
    command.add_argument("--profile", choices=tuple(TEXTS), default="mixed", help="default: %(default)s")
    command.add_argument("--texts", type=int, help="how many (default: about ten thousand tokens)")
    command.add_argument("--peers", type=_peers, default=(), help=f"these alone, with commas between: {names}")
    command.add_argument(
        "--patience",
        type=int,
        default=0,
        help="how often a turn that other processes disturbed may be repeated (default: %(default)s)",
    )
    command.add_argument(
        "--all", action="store_true", help="both models and all profiles, with one thread and with --threads: 24 cases"
    )


def _peers(given: str) -> tuple[str, ...]:
    names = tuple(filter(None, given.split(",")))
    for name in names:
        if name not in (*FAMILIES, SENTENCES):
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join((*FAMILIES, SENTENCES))}")
    return names


def _encode(given: argparse.Namespace) -> None:
    fields = ("model", "profile", "threads", "texts", "rounds", "patience", "peers")
    case = Case(**{name: getattr(given, name) for name in fields})
    cases = encode.every_case(case, sorted({1, given.threads})) if given.all else [case]
    encode.run(cases, file=given.json, picture=given.picture)


main()
