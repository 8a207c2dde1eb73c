"""`driftline generate`: the demo's story, played against a running Kafka as a service would publish it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from driftline import registry
from driftline.schemas.errors import DriftlineError
from driftline.settings import Settings
from driftline.sinks.publisher import Publisher
from driftline.story import SCENARIOS, Event, Scenario, Story, story
from driftline.streams.profile import reference_from_frame

FLUSH_S = 60.0
BURST = 10_000  # events on their way to the broker; the publisher itself would rather drop than wait


def run(
    rate: Annotated[float, typer.Option(help="Events a second; 0 is as fast as the broker takes them.", min=0)] = 500.0,
    seed: Annotated[int, typer.Option(help="The same seed tells the same story.", min=0)] = 7,
    scenario: Annotated[Scenario, typer.Option(help=f"One of {', '.join(SCENARIOS)}.")] = "full",
    events: Annotated[int, typer.Option(help="Predictions in the story.", min=1)] = 40_000,
) -> None:
    """Publish the reference of the model "churn" and then its story to the Kafka at DRIFTLINE_KAFKA.

    Event time is the story's (ten hours of 2026-01-05). The worker needs a model file for "churn": see examples/models.
    """
    settings = Settings.from_environment()
    client, topics = settings.kafka_client(), settings.topics()
    told = story(seed, scenario, events)
    reference = reference_from_frame(told.training, told.model, told.version, prediction="prediction", score="score", label="label")
    registry.publish(client, topics.models, [reference])
    publisher = Publisher(client["bootstrap.servers"], told.model.model, told.version, topics=topics, config=client)
    _play(publisher, told, rate)
    waiting = publisher.close(FLUSH_S)
    if waiting or publisher.dropped:
        raise DriftlineError(
            "events_lost",
            f"{publisher.dropped} events were lost and {waiting} not sent",
            "check the broker and the topics, or lower --rate",
        )
    print(f"{publisher.published} events and the reference {reference.hash} are in Kafka", file=sys.stderr)


def _play(publisher: Publisher, told: Story, rate: float) -> None:
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("playing", total=told.predictions + told.outcomes)
        for count, event in enumerate(_paced(told.events(), rate), start=1):
            publish = publisher.predicted if event.topic == "predictions" else publisher.outcome
            publish(**event.fields, id=event.id, ts=event.ts)
            progress.advance(task)
            if count % BURST == 0:
                publisher.flush(FLUSH_S)


def _paced(events: Iterable[Event], rate: float) -> Iterator[Event]:
    """The events, no more than `rate` a second (0: unlimited)."""
    begin = time.monotonic()
    for count, event in enumerate(events):
        if rate and (ahead := count / rate - (time.monotonic() - begin)) > 0:
            time.sleep(ahead)
        yield event
