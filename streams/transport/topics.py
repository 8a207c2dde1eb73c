"""Create the topics, and say what is wrong with those that exist.

`client` is always a mapping of librdkafka properties, as `Settings.kafka_client()` gives it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, TopicMetadata

from driftline.schemas.errors import DriftlineError
from driftline.schemas.topics import DAY_MS, Topic, Topics

log = logging.getLogger(__name__)

_TIMEOUT_S: Final = 15.0
_ASK_S: Final = 1.5
_LOOK_S: Final = 0.05
_AT_LEAST: Final = {"retention.ms", "max.message.bytes"}
#: A managed Kafka may forbid this question, and the embedded broker does not know it.
_NOT_TOLD: Final = {KafkaError._UNSUPPORTED_FEATURE, KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED}
_NO_LOGIN: Final = {KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError.SASL_AUTHENTICATION_FAILED}
DEFAULT_PARTITIONS: Final = 4


class Problem(NamedTuple):
    """What is wrong with one topic, and what to do about it."""

    topic: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.problem}. Fix: {self.fix}"


def configuration(topic: Topic) -> dict[str, str]:
    """The broker's settings of a topic.

    >>> configuration(Topics().table()[0])["message.timestamp.type"]
    'LogAppendTime'
    """
    clock = {"message.timestamp.type": "LogAppendTime"} if topic.log_append_time else {}
    return {
        "cleanup.policy": topic.cleanup,
        "retention.ms": str(topic.retention_ms),
        "max.message.bytes": str(topic.max_message_bytes),
        **clock,
    }


def partitions_of(client: Mapping[str, Any]) -> dict[str, int]:
    """The partition count of every topic of the cluster; never creates one."""
    return _counts(_admin(client))


def topic_ids(client: Mapping[str, Any], topics: Topics) -> dict[str, str]:
    """Name → id of the topics, as far as the broker tells them; a topic that is deleted and made anew has another id."""
    admin = _admin(client)  # answers come only while it lives
    told: dict[str, str] = {}
    names = TopicCollection([topic.name for topic in topics.table(1)])
    for name, future in admin.describe_topics(names, request_timeout=_TIMEOUT_S).items():
        try:
            told[name] = str(future.result().topic_id)
        except KafkaException as error:  # an old broker, or one that does not answer now: the ids of another start will do
            log.info("the id of topic %s cannot be told: %s", name, error.args[0].str())
    return told


def create(client: Mapping[str, Any], table: Sequence[Topic], replication: int = -1) -> list[str]:
    """Make the topics of the table that are missing, and wait until they are there.

    Parameters
    ----------
    replication
        Copies of each partition; -1 leaves it to the broker.

    Returns
    -------
    list of str
        The names that were made. Topics that exist are left as they are: see `check`.
    """
    admin = _admin(client)
    there = _counts(admin)
    new = [NewTopic(t.name, t.partitions, replication, config=configuration(t)) for t in table if t.name not in there]
    if not new:
        return []
    for name, future in admin.create_topics(new, operation_timeout=_TIMEOUT_S).items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # somebody else did it meanwhile
                raise DriftlineError("topics", f"{name} was not created: {error.args[0].str()}", "see the broker's rules") from error
    made = [topic.topic for topic in new]
    for _ in range(int(_TIMEOUT_S / _LOOK_S)):  # the answer comes before every broker knows
        if _counts(admin).keys() >= set(made):
            return made
        time.sleep(_LOOK_S)
    raise DriftlineError("topics", f"the topics were created and did not appear in {_TIMEOUT_S:.0f} s", "look at the brokers' logs")


def check(client: Mapping[str, Any], topics: Topics, retention_ms: int = 14 * DAY_MS, partitions: int | None = None) -> list[Problem]:
    """What is wrong with the topics, in the order of the table; empty when a worker may start.

    Every topic of the table must exist, with `partitions`, or else as many as the predictions have (`models`: one), keep its records for
    at least `retention_ms` where the table says so, and have its clean-up policy, time stamps and message size.
    """
    admin = _admin(client)
    counts = _counts(admin)
    table = topics.table(partitions or counts.get(topics.predictions, DEFAULT_PARTITIONS), retention_ms)
    settings = _settings(admin, [topic.name for topic in table if topic.name in counts])
    return [problem for topic in table for problem in _problems(topic, counts.get(topic.name), settings.get(topic.name, {}))]


def require(client: Mapping[str, Any], topics: Topics, retention_ms: int = 14 * DAY_MS) -> int:
    """The partition count of the source topics; raises `DriftlineError` that lists every problem `check` finds."""
    problems = check(client, topics, retention_ms)
    if problems:
        listed = "".join(f"\n  - {problem.topic}: {problem.problem}\n    {problem.fix}" for problem in problems)
        raise DriftlineError(
            "wrong_topics", f"the topics are not as a worker needs them:{listed}", "see above; `driftline topics --check` looks again"
        )
    return partitions_of(client)[topics.predictions]


def _problems(topic: Topic, count: int | None, settings: Mapping[str, str]) -> Iterator[Problem]:
    if count is None:
        yield Problem(topic.name, "does not exist", "run `driftline topics`")
        return
    if count != topic.partitions:
        fix = (
            "delete it and run `driftline topics`, or begin anew under another DRIFTLINE_PREFIX; "
            "do not add partitions, that would part labels from their predictions"
        )
        yield Problem(topic.name, f"has {count} partitions, and {topic.partitions} are needed", fix)
    for name, wanted in configuration(topic).items():
        if name in settings and not _satisfies(name, settings[name], wanted):
            bound = "at least " if name in _AT_LEAST else ""
            fix = f"kafka-configs.sh --bootstrap-server HOST:PORT --alter --topic {topic.name} --add-config '{name}=[{wanted}]'"
            yield Problem(topic.name, f"{name} is {settings[name]}, and {bound}{wanted} is needed", fix)


def _satisfies(name: str, value: str, wanted: str) -> bool:
    if name in _AT_LEAST:
        return int(value) == -1 or (int(wanted) != -1 and int(value) >= int(wanted))
    return set(value.split(",")) == set(wanted.split(","))


def _settings(admin: AdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Name → the settings of the topics, as far as the broker tells them."""
    resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names]
    told: dict[str, dict[str, str]] = {}
    for resource, future in (admin.describe_configs(resources, request_timeout=_TIMEOUT_S) if resources else {}).items():
        try:
            told[resource.name] = {entry.name: entry.value for entry in future.result().values()}
        except KafkaException as error:
            if error.args[0].code() not in _NOT_TOLD:
                raise _unreachable(error) from error
            reason = error.args[0].str()
    if len(told) < len(names):
        log.info("the settings of %d topics cannot be checked: %s", len(names) - len(told), reason)
    return told


def _admin(client: Mapping[str, Any]) -> AdminClient:
    configuration: dict[str, Any] = {"log_level": 0, "error_cb": _refused, **client}
    return AdminClient(configuration)


def _refused(error: KafkaError) -> None:
    if error.code() in _NO_LOGIN:
        fix = "correct DRIFTLINE_KAFKA_USERNAME, DRIFTLINE_KAFKA_PASSWORD, DRIFTLINE_KAFKA_CA and the protocol and mechanism beside them"
        raise DriftlineError("kafka_login", f"Kafka refuses the login: {error.str()}", fix)


def _counts(admin: AdminClient) -> dict[str, int]:
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        try:
            found = admin.list_topics(timeout=_ASK_S).topics
            if not any(_is_being_made(topic) for topic in found.values()) or time.monotonic() > deadline:
                return {name: len(topic.partitions) for name, topic in found.items()}
            time.sleep(_LOOK_S)
        except KafkaException as error:
            admin.poll(0)  # a refused login is told to `_refused` only; the client itself would go on trying
            if time.monotonic() > deadline:
                raise _unreachable(error) from error


def _is_being_made(topic: TopicMetadata) -> bool:
    """Whether a topic was made so lately that its partitions have no leader yet; their number would be a guess."""
    unknown = KafkaError.LEADER_NOT_AVAILABLE
    return any(error and error.code() == unknown for error in (topic.error, *(part.error for part in topic.partitions.values())))


def _unreachable(error: KafkaException) -> DriftlineError:
    return DriftlineError(
        "kafka",
        f"Kafka does not answer: {error.args[0].str()}",
        "start it, or correct DRIFTLINE_KAFKA and the DRIFTLINE_KAFKA_… of its login",
    )
