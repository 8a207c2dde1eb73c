"""Every stable error code of the project, with the sentence that explains it. The documentation includes this file's table.

A code never changes its meaning; a new fault gets a new code.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Codes of records that go to the dead letters, and what each one means.
DEAD_LETTER_CODES: dict[str, str] = {
    "empty": "the value has no bytes",
    "not_object": "the value is JSON, but not an object",
    "malformed": "the value is not JSON, or, where its header says so, no Arrow stream",
    "encoding": "the value is not UTF-8, or begins with a byte order mark",
    "wire_format": "the value is binary (a schema registry's header, an Arrow stream); plain JSON is expected",
    "too_deep": "objects and lists are nested more than 32 levels deep",
    "missing_field": "a required field is absent",
    "wrong_type": "a field has a type that the contract does not allow",
    "non_finite": "a number is NaN, infinite or too large for a 64-bit float",
    "int_range": "an integer does not fit into 64 bits",
    "out_of_bounds": "a string, list or number is longer or larger than the contract allows",
    "bad_name": "an id, a name or a class has a control character in it, or a category has NUL",
    "bad_probability": "a score is outside [0, 1], or class scores do not sum to 1",
    "bad_timestamp": "the time stamp is unreadable, has no offset, or is not within the years 2000 to 2100",
    "future": "the time stamp lies beyond the allowed clock skew",
    "too_many_features": "an event has more features than the limit",
    "no_key": "the record has no Kafka key; it must be the prediction's id",
    "wrong_key": "the record's Kafka key is not the prediction's id in UTF-8",
    "wrong_partition": "a row of a batch belongs to another partition, by Kafka's own hash of its id",
    "unknown_model": "no configuration and no registry entry names this model",
    "unknown_class": "the prediction or label is none of the classes that the model's file lists",
    "unknown_field_value": "a field has a value outside its list",
    "task_mismatch": "the prediction or label does not fit the model's task",
    "duplicate_conflict": "another prediction with this id was accepted before, with different content",
    "unknown_type": "a CloudEvents type or version that is not known here",
    "store_rejected": "the store refused the row",
}


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why one record cannot be used: a code of `DEAD_LETTER_CODES` and a sentence for whoever reads it at 3 a.m."""

    code: str
    message: str


class ConfigurationError(Exception):
    """What is wrong in a configuration, where, and how to put it right.

    >>> print(ConfigurationError("models/churn.toml", 3, "task", "unknown task 'binray'", "use one of binary, multiclass, regression"))
    models/churn.toml:3: task: unknown task 'binray'. Fix: use one of binary, multiclass, regression
    """

    def __init__(self, file: str, line: int | None, path: str, problem: str, fix: str) -> None:
        self.file, self.line, self.path, self.problem, self.fix = file, line, path, problem, fix
        where = f"{file}:{line}" if line else file
        super().__init__(f"{where}: {path + ': ' if path else ''}{problem}. Fix: {fix}")


class DriftlineError(Exception):
    """An error with a stable code that stops a command or a worker: what, where, and the fix, in one sentence each."""

    def __init__(self, code: str, message: str, fix: str) -> None:
        self.code, self.message, self.fix = code, message, fix
        super().__init__(f"[{code}] {message}\n  fix: {fix}")


def refuse_newer(what: str, codec: int, known: int) -> None:
    """Raise `state_too_new` when a piece of state was written in a codec beyond the newest `known` here: it is never read by guessing.

    >>> refuse_newer("a marker", 2, 2)
    """
    if codec > known:
        raise DriftlineError(
            "state_too_new", f"{what} has codec {codec}; this version reads up to {known}", "run the version that wrote it, or a newer one"
        )
