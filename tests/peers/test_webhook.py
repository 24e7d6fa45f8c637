"""The webhook sink against a real HTTP receiver: nothing lost across kill -9, order per key, retries, refusals, signatures, private addresses."""
import base64
import collections
import hashlib
import hmac
import json
import os
import random
import time

import pytest

from servers import HttpReceiver, Project, wait_for

KILLS = int(os.environ.get("LEAT_KILLS", "4"))

EVENTS = """
CREATE SOURCE events (id BIGINT NOT NULL, k BIGINT, v BIGINT, t TIMESTAMP NOT NULL, WATERMARK FOR t AS t)
WITH (connector = 'file', path = 'in/*.ndjson');
SET retry_backoff = '20 ms';
SET commit_interval = '200 ms';
"""
RAW = "CREATE MATERIALIZED TABLE raw FRESHNESS = INTERVAL '100' MILLISECOND AS SELECT id, k, v FROM events;\n"
TOTALS = """CREATE MATERIALIZED TABLE totals (PRIMARY KEY (k)) FRESHNESS = INTERVAL '100' MILLISECOND
AS SELECT k, count(*) AS n, sum(v)::BIGINT AS v FROM events GROUP BY k;
"""


def sink(table, receiver, options="allow_private = true"):
    return f"CREATE SINK out FROM {table} WITH (connector = 'webhook', url = '{receiver.url}', {options});\n"


def events(first, count):
    return [{"id": i, "k": i % 7, "v": i, "t": "2026-01-01 00:00:00"} for i in range(first, first + count)]


def totals(count):
    sums = collections.defaultdict(lambda: [0, 0])
    for row in events(0, count):
        sums[row["k"]][0] += 1
        sums[row["k"]][1] += row["v"]
    return {k: tuple(v) for k, v in sums.items()}


def expect_bodies_equal(receiver):
    """The same change is always the same bytes under the same key (rule 5)."""
    bodies = {}
    for request in receiver.requests:
        key = request["headers"]["Idempotency-Key"]
        assert key == request["headers"]["webhook-id"] == json.loads(request["body"])["id"]
        assert bodies.setdefault(key, request["body"]) == request["body"]


def current(receiver):
    """What somebody knows who keeps of each key the body with the highest sequence."""
    newest = {}
    for body in receiver.taken():
        if body["kind"] == "upsert":
            newest[body["key"]["k"]] = max(newest.get(body["key"]["k"], (0, None)), (int(body["id"].rsplit("-", 1)[1]), (body["row"]["n"], body["row"]["v"])))
    return {k: row for k, (_, row) in newest.items()}


def test_kill_9_under_load_loses_and_invents_nothing(tmp_path):
    """A receiver that drops answers; leat is killed again and again; every row is told once, by key, and the last of each key is right."""
    lossy = random.Random(1)
    count = 0
    with HttpReceiver(lambda request, n: "drop" if lossy.random() < 0.2 else 200) as receiver:
        project = Project(tmp_path / "p", EVENTS + RAW + TOTALS + sink("raw", receiver) + sink("totals", receiver).replace(" out ", " totals_out "))
        for kill in range(KILLS):
            project.start()
            for _ in range(6):
                project.feed(events(count, 50))
                count += 50
                time.sleep(lossy.random() / 5)
            project.kill()
        with project:
            wait_for("everything delivered", lambda: len({b["id"] for b in receiver.taken() if b["kind"] == "append"}) >= count, 60 + 5 * KILLS)
            wait_for("the totals, too", lambda: current(receiver) == totals(count), 60 + 5 * KILLS)
            project.stop()
        expect_bodies_equal(receiver)
        got = {}
        for body in receiver.taken():
            got.setdefault(body["id"], body)
        appended = sorted(b["row"]["id"] for b in got.values() if b["kind"] == "append")
        assert appended == list(range(count))
        assert all(s["waiting"] == 0 and s["dead"] == 0 for s in project.status()["sinks"])


def test_a_receiver_that_is_down_slow_or_half_answers(tmp_path):
    answers = iter([500, "half", "drop", 0.3, 503, 408, 425] + [200] * 1000)
    with HttpReceiver(lambda request, n: next(answers)) as receiver:
        project = Project(tmp_path / "p", EVENTS + RAW + sink("raw", receiver, "allow_private = true, in_flight = 1, timeout = '200 ms', retry_max = '100 ms'"))
        project.feed(events(0, 20))
        with project:
            wait_for("all delivered", lambda: len({b["id"] for b in receiver.taken()}) == 20)
            receiver.stop()
            project.feed(events(20, 20))
            time.sleep(0.5)
            receiver.start()
            wait_for("all delivered after it was down", lambda: len({b["id"] for b in receiver.taken()}) == 40)
            assert project.stop() == 0
        assert project.sink("out")["waiting"] == 0 and project.sink("out")["dead"] == 0


def test_order_of_a_key_with_many_in_flight(tmp_path):
    chance = random.Random(2)
    with HttpReceiver(lambda request, n: 500 if chance.random() < 0.1 else chance.random() / 100) as receiver:
        project = Project(tmp_path / "p", EVENTS + TOTALS + sink("totals", receiver, "allow_private = true, in_flight = 16, retry_max = '50 ms'"))
        with project:
            for i in range(30):
                project.feed(events(i * 10, 10))
                time.sleep(0.05)
            wait_for("the last of each key", lambda: {b["key"]["k"]: (b["row"]["n"], b["row"]["v"]) for b in receiver.taken()} == totals(300))
        seen = collections.defaultdict(int)
        for body in receiver.taken():
            assert body["row"]["n"] >= seen[body["key"]["k"]]
            seen[body["key"]["k"]] = body["row"]["n"]


def test_refusals_become_dead_letters(tmp_path):
    def answer(request, n):
        row = json.loads(request["body"])["row"]
        return 422 if row["id"] == 3 else 500 if row["id"] == 5 else 200

    with HttpReceiver(answer) as receiver:
        project = Project(tmp_path / "p", EVENTS + RAW + sink("raw", receiver, "allow_private = true, max_tries = 3, retry_max = '20 ms'"))
        project.feed(events(0, 10))
        with project:
            wait_for("delivered", lambda: len(receiver.taken()) == 8)
            wait_for("dead letters in the lake", lambda: len(project.sql("SELECT * FROM out__dead") if (project.folder / "lake/dead/out").exists() else []) == 2)
        rows = project.sql("SELECT kind, reason, payload FROM out__dead ORDER BY sequence")
        assert [json.loads(r["payload"])["row"]["id"] for r in rows] == [3, 5]
        assert "422" in rows[0]["reason"] and "500" in rows[1]["reason"]
        tries = collections.Counter(json.loads(r["body"])["row"]["id"] for r in receiver.requests)
        assert tries[3] <= 3 and tries[5] >= 3 and all(tries[i] == 1 for i in range(10) if i not in (3, 5))
        assert project.sink("out")["dead"] == 2 and project.sink("out")["waiting"] == 0


def test_what_is_about_the_sender_is_waited_out(tmp_path):
    """A token that has run out makes no dead letters. Retry-After is kept to."""
    right = []
    with HttpReceiver(lambda request, n: (429, {"Retry-After": "1"}, b"") if n == 0 else 200 if right else 401) as receiver:
        project = Project(tmp_path / "p", EVENTS + RAW + sink("raw", receiver, "allow_private = true, retry_max = '2 seconds', authorization = 'Bearer ${TOKEN}'"),
                          env={"TOKEN": "abc-secret"})
        project.feed(events(0, 1))
        with project:
            wait_for("two tries", lambda: len(receiver.requests) >= 2)
            assert receiver.requests[1]["at"] - receiver.requests[0]["at"] >= 1.0
            right.append(True)
            wait_for("delivered", lambda: receiver.taken())
        assert receiver.requests[0]["headers"]["Authorization"] == "Bearer abc-secret"
        assert project.sink("out")["dead"] == 0
        shown = project.leat("status", "--json").stdout + project.leat("status").stdout + (project.folder / "leat.log").read_text()
        assert "abc-secret" not in shown


def test_signature_is_that_of_standard_webhooks(tmp_path):
    key = b"0123456789abcdef0123456789abcdef"
    secrets = {"plain": ("a plain secret", b"a plain secret"), "standard": ("whsec_" + base64.b64encode(key).decode(), key)}
    for name, (text, raw) in secrets.items():
        with HttpReceiver() as receiver:
            project = Project(tmp_path / name, EVENTS + RAW + sink("raw", receiver, "allow_private = true, secret = '${SECRET}'"), env={"SECRET": text})
            project.feed(events(0, 3))
            project.once()
            assert len(receiver.requests) == 3
            for request in receiver.requests:
                headers = request["headers"]
                signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + request["body"]
                expected = "v1," + base64.b64encode(hmac.new(raw, signed, hashlib.sha256).digest()).decode()
                assert headers["webhook-signature"] == expected
                assert abs(int(headers["webhook-timestamp"]) - time.time()) < 3600
                assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]", "2130706433", "127.1"])
def test_private_addresses_are_refused(tmp_path, host):
    with HttpReceiver() as receiver:
        url = f"http://{host}:{receiver.port}/hook"
        project = Project(tmp_path / "p", EVENTS + RAW + f"CREATE SINK out FROM raw WITH (connector = 'webhook', url = '{url}');\n")
        project.feed(events(0, 1))
        said = project.once().stderr
        assert receiver.requests == []
        assert "private network" in said or "Couldn't connect" in said or "Failed to connect" in said
        assert project.sink("out")["waiting"] == 1


def test_redirects_are_not_followed(tmp_path):
    with HttpReceiver() as inner, HttpReceiver() as outer:
        outer.answer = lambda request, n: (302, {"Location": inner.url}, b"")
        project = Project(tmp_path / "p", EVENTS + RAW + sink("raw", outer))
        project.feed(events(0, 1))
        assert "redirects are not followed" in project.once().stderr
        assert outer.requests and not inner.requests


def test_a_dead_receiver_holds_back_nothing_else(tmp_path):
    with HttpReceiver() as alive, HttpReceiver() as dead:
        dead.stop()
        project = Project(tmp_path / "p", EVENTS + RAW + sink("raw", alive) + sink("raw", dead, "allow_private = true, spool_limit = '64 KiB', retry_max = '50 ms'").replace(" out ", " gone "))
        with project:
            for i in range(20):
                project.feed(events(i * 60, 60))
                time.sleep(0.1)
            wait_for("the other sink has all", lambda: len(alive.taken()) == 1200)
            wait_for("beyond the limit it is cut off", lambda: "spool_limit" in (project.folder / "leat.log").read_text())
            spool = sum(f.stat().st_size for f in (project.folder / ".leat/sink/gone/log").iterdir())
            assert spool < 1 << 20
            dead.start()
            project.feed(events(1200, 1))
            wait_for("and then has everything once", lambda: len(dead.taken()) >= 1201)
        assert sorted(b["row"]["id"] for b in dead.taken()) == list(range(1201))
