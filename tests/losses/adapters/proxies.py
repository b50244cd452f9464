"""Binary losses and proxies."""

from __future__ import annotations

from tests.losses.adapters.common import Adapter

ADAPTERS: dict[str, Adapter] = {}
