"""Work on tables (B, C) in blocks of rows."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Change = Callable[..., Tensor | None]
"""Changes a block of a table in place; returns the derivative of each new number by the old one, or
None where it is 1.

It takes the block, others of its shape, and numbers (); it may close over no tensor, because
``vmap`` would not find it there.
"""

BLOCK = 2**18
"""Numbers that a processor's cache holds together with what is made of them."""


EXCLUDED = -1e30
"""For a logit that is not to count: its softplus and its share of a logsumexp are exactly 0."""


def row_blocks(table: Tensor) -> list[slice]:
    """Blocks of the rows of a table (B, C), to be worked through in several passes each.

    One block of all rows on a GPU, where a pass costs a launch; on a CPU each is small enough for
    the cache, because there a pass over a large table costs its way to memory and back.
    """
    count = max(1, len(table))  # an empty table is one empty block
    rows = count if table.is_cuda else max(1, BLOCK // table.shape[-1])
    return [slice(start, start + rows) for start in range(0, count, rows)]
