"""Which loss of the catalog computes which case of the vectors, by the case's oracle."""

from __future__ import annotations

from tests.losses.adapters import adaptive, margins, memory, pairs, proxies
from tests.losses.adapters.common import Adapter

ADAPTERS: dict[str, Adapter] = {
    **margins.ADAPTERS,
    **adaptive.ADAPTERS,
    **proxies.ADAPTERS,
    **pairs.ADAPTERS,
    **memory.ADAPTERS,
}
