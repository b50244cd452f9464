"""A progress bar on stderr where tqdm is installed, nothing otherwise."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


def progress(items: Sequence[T], label: str) -> Iterable[T]:
    """Iterate over `items`, showing how far it is when that takes longer than a second."""
    try:
        from tqdm import tqdm
    except ImportError:
        return items
    return tqdm(items, desc=label, unit=" images", delay=1.0)
