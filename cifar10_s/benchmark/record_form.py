"""Record form: what tables and plots take from a record, whoever wrote it."""

from typing import Any

from cifar10_s.form import ANY_NAME, NUMBER, NUMBERS, TEXT, WHOLE, Each, Form
from cifar10_s.form import misfit as misfit_of

REQUIRED: Form = {
    "settings": {
        "source": TEXT,
        "configuration": TEXT,
        "pixels_sha256": TEXT,
        "test_sha256": TEXT,
        "strategy": {"name": TEXT},
        "protocol": {"name": TEXT, "network": TEXT},
        "network": TEXT,
        "seed": WHOLE,
    },
    "status": TEXT,
    "results": {},
    "environment": {},
}
# A run that failed has only some of these, and an older version did not measure all.
OPTIONAL: dict[str, Form] = {
    "final": NUMBER,
    "peak": NUMBER,
    "last_5_mean": NUMBER,
    "robust_accuracy": NUMBER,
    "test_accuracy": NUMBERS,
    "train_accuracy": NUMBERS,
    "parameter_distance": NUMBERS,
    "evaluations": Each(NUMBER, ANY_NAME),
}


def misfit(record: Any) -> str | None:
    """Say what of a record is not of the form; None where all is."""
    found = misfit_of(record, REQUIRED)
    if found is not None:
        return found
    results = record["results"]
    return misfit_of(results, {name: form for name, form in OPTIONAL.items() if name in results}, "results")
