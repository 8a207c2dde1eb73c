"""What may befall a block on its way, and that it ends up stored once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from clickhouse_gateway import Gateway

from driftline.schemas.errors import DriftlineError
from driftline.schemas.results import References
from driftline.sinks.clickhouse import RETRIABLE, ClickHouse
from driftline.sinks.sink import FIRST_DELAY_S, LONGEST_DELAY_S

Open = Callable[..., ClickHouse]
ROWS = [References("churn", "7", f"ref{i}", "training", i, 100, "{}", 1) for i in range(6)]


def stored(store: ClickHouse) -> tuple[int, int]:
    """Rows in the table, and rows that differ."""
    (answer,) = store.query("SELECT count() AS n, uniqExact(reference) AS different FROM `references`").to_pylist()
    return answer["n"], answer["different"]


def test_states_that_pass_are_waited_for_with_the_same_block_and_token(gateway: Gateway, over_http: Open, database: str) -> None:
    seen: list[str] = []
    store = over_http(sleep=lambda _: None, on_retry=lambda error, attempt, delay_s: seen.append(f"attempt {attempt}: {error}"))
    gateway.fail(*({"code": code} for code in sorted(RETRIABLE)))
    store.insert("references", ROWS, database)
    assert stored(store) == (6, 6)
    assert gateway.inserts(database) == [(database, 6)]
    assert len(seen) == len(RETRIABLE)
    for attempt, (code, said) in enumerate(zip(sorted(RETRIABLE), seen, strict=True), 1):
        assert said.startswith(f"attempt {attempt}: ")
        assert f"code: {code}" in said


def test_lost_connections_and_lost_answers_store_the_block_once(gateway: Gateway, over_http: Open) -> None:
    store = over_http(sleep=lambda _: None)
    gateway.fail({"drop": "after"}, {"drop": "before"}, {"status": 502}, {"status": 503}, {"status": 504}, {"drop": "after"})
    store.insert("references", ROWS, "t")
    assert stored(store) == (6, 6)


def test_an_answer_that_takes_too_long_is_asked_for_again(gateway: Gateway, over_http: Open) -> None:
    errors: list[DriftlineError] = []
    over_http()  # has migrated: with this timeout a busy machine would give up
    store = over_http("?send_receive_timeout=2", sleep=lambda _: None, on_retry=lambda error, *_: errors.append(error))
    gateway.fail({"slow_s": 3.0})
    store.insert("references", ROWS, "t")
    assert stored(store) == (6, 6)
    assert {error.code for error in errors} == {"store_busy"}


def test_a_block_that_was_written_in_part_is_written_again_as_a_whole(gateway: Gateway, over_http: Open, database: str) -> None:
    errors: list[DriftlineError] = []
    store = over_http(sleep=lambda _: None, on_retry=lambda error, *_: errors.append(error))
    gateway.fail({"half": True})
    store.insert("references", ROWS, database)
    assert store.query("SELECT count() AS n FROM `references` FINAL").to_pylist() == [{"n": 6}]
    assert gateway.inserts(database) == [(database, 3), (f"{database}+", 6)]
    assert "wrote 3 of 6 rows" in str(errors[0])


def test_a_store_that_keeps_writing_in_part_stops(gateway: Gateway, over_http: Open) -> None:
    store = over_http(sleep=lambda _: None)
    gateway.fail(*[{"half": True}] * 20)
    with pytest.raises(DriftlineError) as caught:
        store.insert("references", ROWS, "t")
    gateway.fail()
    assert caught.value.code == "store_partial"


def test_a_server_that_is_away_is_waited_for(tmp_path: Path) -> None:
    server = Gateway(tmp_path / "store", "p").start()
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 12:
            server.start()

    try:
        with ClickHouse.connect(server.dsn("drift"), create=True, sleep=sleep) as store:
            store.migrate()
            server.stop()
            store.insert("references", ROWS, "t")
            assert stored(store) == (6, 6)
    finally:
        server.stop()
    assert waited[:3] == [FIRST_DELAY_S, 2 * FIRST_DELAY_S, 4 * FIRST_DELAY_S]
    assert waited[-1] == LONGEST_DELAY_S


def test_what_does_not_pass_by_itself_stops_at_once(gateway: Gateway, over_http: Open) -> None:
    store = over_http(sleep=lambda _: pytest.fail("waited"))
    names = {497: "store_denied", 516: "store_login", 60: "store_schema", 16: "store_schema", 62: "store_query", 48: "store_failed"}
    gateway.fail(*({"code": code} for code in names))
    for code, name in names.items():
        with pytest.raises(DriftlineError, match=f"references: .*code: {code}") as caught:
            store.insert("references", ROWS, "t")
        assert caught.value.code == name


def test_a_user_who_may_only_read_stops_after_some_patience(gateway: Gateway, over_http: Open) -> None:
    waited: list[float] = []
    store = over_http(sleep=waited.append)
    gateway.fail(*[{"code": 164}] * 50)
    with pytest.raises(DriftlineError, match="the right to SELECT, INSERT") as caught:
        store.insert("references", ROWS, "t")
    gateway.fail()
    assert caught.value.code == "store_denied"
    assert len(waited) == 10


def test_a_wrong_password_is_told_without_telling_it(gateway: Gateway, database: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(DriftlineError) as caught:
        ClickHouse.connect(gateway.dsn(database, password="pl4nted/s3cret"))
    assert caught.value.code == "store_login"
    assert "pl4nted" not in str(caught.value) + caplog.text


def test_a_server_that_cannot_be_reached_is_told_without_the_password(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(DriftlineError) as caught:
        ClickHouse.connect("http://writer:pl4nted@127.0.0.1:9/drift")
    assert caught.value.code == "store_unreachable"
    assert "pl4nted" not in str(caught.value) + caplog.text


def test_no_secret_is_in_what_the_store_says_of_itself(gateway: Gateway, over_http: Open, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    store = over_http(sleep=lambda _: None, on_retry=lambda error, *_: said.append(str(error)))
    gateway.fail({"code": 241}, {"drop": "before"})
    store.insert("references", ROWS, "t")
    text = repr(store) + "".join(said) + caplog.text
    assert "***" in repr(store)
    assert gateway.password not in text
    assert "s3cr%3At" not in text
