"""How the project computes what each oracle of the independent metric vectors computed."""

from tests.benchmarks.protocols.adapters import (
    closed_set,
    geometry,
    identification,
    kfold,
    open_set,
    retrieval,
    verification,
)

# oracle -> (protocol, function); the function takes a case and returns every expected value by name.
ADAPTERS = {
    oracle: (module.PROTOCOL, function)
    for module in (
        closed_set,
        verification,
        kfold,
        identification,
        open_set,
        retrieval,
        geometry,
    )
    for oracle, function in module.ADAPTERS.items()
}
