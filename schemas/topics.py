"""The table of topics: name, partitions, clean-up, who writes and who reads."""

from __future__ import annotations

from typing import Literal

import msgspec

DAY_MS = 86_400_000
MIB = 1024 * 1024


class Topic(msgspec.Struct, frozen=True):
    """One topic as it must be. `compact` in `cleanup` keeps the last record of a key; a retention of -1 has no end."""

    name: str
    partitions: int
    cleanup: Literal["delete", "compact", "compact,delete"]
    retention_ms: int
    purpose: str
    log_append_time: bool = False  # stamped by the broker's clock: what "from the future" means must not depend on who sends
    max_message_bytes: int = 8 * MIB  # a pane or a profile of 1 000 features is one record


class Topics(msgspec.Struct, frozen=True):
    """The names of all topics under one prefix.

    >>> Topics().predictions
    'driftline.predictions'
    """

    prefix: str = "driftline"

    @property
    def predictions(self) -> str:
        return f"{self.prefix}.predictions"

    @property
    def outcomes(self) -> str:
        return f"{self.prefix}.outcomes"

    @property
    def models(self) -> str:
        return f"{self.prefix}.models"

    @property
    def panes(self) -> str:
        return f"{self.prefix}.panes"

    @property
    def results(self) -> str:
        return f"{self.prefix}.results"

    @property
    def alerts(self) -> str:
        return f"{self.prefix}.alerts"

    @property
    def retrain(self) -> str:
        return f"{self.prefix}.retrain"

    @property
    def dead_letters(self) -> str:
        return f"{self.prefix}.dead-letters"

    def changelog(self, table: str) -> str:
        """The changelog of one of the worker's tables; Faust makes the name from the application's id, which is the prefix."""
        return f"{self.prefix}-{table}-changelog"

    def table(self, partitions: int = 4, retention_ms: int = 14 * DAY_MS) -> tuple[Topic, ...]:
        """Every topic as it must be, for `partitions` source partitions.

        All keyed topics have the same partition count, so that the assignor puts partition k of each on the same worker.
        """
        p = partitions
        return (
            Topic(self.predictions, p, "delete", retention_ms, "services write prediction events; ingest reads", True, MIB),
            Topic(self.outcomes, p, "delete", retention_ms, "label sources write outcome events; ingest reads", True, MIB),
            Topic(self.models, 1, "compact", -1, "references and the life of versions; every worker reads all of it", True),
            Topic(self.panes, p, "compact,delete", retention_ms, "ingest writes snapshots of panes; evaluate reads"),
            Topic(self.results, p, "delete", retention_ms, "evaluate writes rows and findings; decide and store read"),
            Topic(self.alerts, p, "delete", retention_ms, "decide writes alerts; people, systems and store read"),
            Topic(self.retrain, p, "delete", retention_ms, "decide writes retrain requests; retraining systems and store read"),
            Topic(self.dead_letters, p, "delete", retention_ms, "records that could not be used; operators and store read"),
            Topic(self.changelog("ingest"), p, "compact", -1, "state of ingest: pane snapshots and markers"),
            Topic(self.changelog("evaluate"), p, "compact", -1, "state of evaluate: panes and detectors"),
            Topic(self.changelog("decide"), p, "compact", -1, "state of decide: incidents and retrain cases"),
            Topic(self.changelog("store"), p, "compact", -1, "state of store: how far the outputs are stored"),
        )
