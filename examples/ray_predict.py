"""Answer a file on all machines of a Ray cluster: `python examples/ray_predict.py FOLDER TEXTS.csv OUT`.

Each worker loads the model once, and takes one of Ray's CPUs; reading takes another one, so that there have to be more
CPUs than workers. Without a cluster Ray starts one on this machine. It comes with: pip install 'glassbert[scale]'.
"""

from __future__ import annotations

import sys

import ray

from glassbert import BatchAnswers


def main(folder: str, texts: str, out: str, workers: int = 1) -> None:
    """Read a CSV file with a column "text", and write Parquet files with the answers beside its columns."""
    dataset = ray.data.read_csv(texts).map_batches(
        BatchAnswers,
        fn_constructor_kwargs={"task": None, "model": folder, "prefix": "answer_"},
        batch_size=1024,
        concurrency=workers,
    )
    dataset.write_parquet(out)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3])
