from typing import Protocol

class Kernel(Protocol):
    def __call__(
        self,
        tensors: tuple[int, ...],
        starts: int,
        sizes: tuple[int, int, int, int],
        first_only: bool,
        seed: int,
        dropped: int,
        scale: float,
        scratch: int,
        threads: int,
        /,
    ) -> int: ...

attend: Kernel
attend_backward: Kernel

def gelu(values: int, result: int, count: int, threads: int, /) -> int: ...
def gelu_backward(values: int, gradient: int, result: int, count: int, threads: int, /) -> int: ...
def dropout(values: int, result: int, count: int, seed: int, dropped: int, scale: float, threads: int, /) -> int: ...
def quantize(
    values: int, rounded: int, least: int, steps: int, tokens: int, size: int, levels: int, threads: int, /
) -> int: ...
def rescale(
    products: int, least: int, steps: int, sums: int, bias: int, tokens: int, size: int, threads: int, /
) -> int: ...
def rounds() -> bool: ...
def pack(weight: int, packed: int, columns: int, depth: int, rounding: bool, threads: int, /) -> int: ...
def encode(
    model: int,
    tensors: tuple[int, ...],
    sizes: tuple[int, int, int, int, bool],
    memory: int,
    rounding: bool,
    threads: int,
    /,
) -> int: ...
def finite(arrays: int, finite: int, count: int, threads: int, /) -> int: ...
def scratch(longest: int, size: int, /) -> int: ...
def levels() -> list[str]: ...
def use_level(name: str, /) -> None: ...
