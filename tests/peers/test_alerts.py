"""Alerts by a real webhook: each incident told once and once when it is over, signed, across kill -9; nothing to private addresses unasked."""
import base64
import collections
import hashlib
import hmac
import json
import time

from servers import HttpReceiver, Project, wait_for

PROJECT = """
CREATE SOURCE events (id BIGINT NOT NULL, t TIMESTAMP NOT NULL, WATERMARK FOR t AS t) WITH (connector = 'file', path = 'in/*.ndjson');
CREATE MATERIALIZED TABLE raw FRESHNESS = INTERVAL '100' MILLISECOND AS SELECT id FROM events;
SET retry_backoff = '20 ms';
SET alert_quiet = '1 second';
SET alert_secret = 'a secret of alerts';
"""


def hook(receiver, private="true"):
    return f"SET alert_webhook = '{receiver.url}?token=abc';\nSET alert_allow_private = {private};\n"


def told(receiver):
    """Each event once, by its key, in the order it first arrived."""
    events = {}
    for request in receiver.requests:
        events.setdefault(request["headers"]["Idempotency-Key"], (request, json.loads(request["body"])))
    return list(events.values())


def webhook(project):
    """What the running process has published of its webhook."""
    path = project.folder / ".leat/status.json"
    return (json.loads(path.read_text()).get("alert_webhook") or {}) if path.exists() else {}


def malformed(project, n):
    (project.folder / "in").mkdir(exist_ok=True)
    with open(project.folder / "in" / "bad.ndjson", "a") as file:
        file.write(f"not json {n}\n")


def test_told_once_and_once_when_it_is_over_across_kill_9(tmp_path):
    with HttpReceiver(lambda request, n: 500 if n % 3 == 0 else 200) as receiver:
        project = Project(tmp_path / "p", PROJECT + hook(receiver))
        for n in range(3):
            project.start()
            malformed(project, n)
            wait_for("raised", lambda: sum(e["type"] == "alert.raised" for _, e in told(receiver)) == n + 1)
            project.kill()
            project.start()
            wait_for("over", lambda: sum(e["type"] == "alert.resolved" for _, e in told(receiver)) == n + 1)
            time.sleep(0.3)
            project.kill()
        events = told(receiver)
        assert [e["type"] for _, e in events] == ["alert.raised", "alert.resolved"] * 3
        incidents = collections.Counter(e["data"]["incident"] for _, e in events)
        assert len(incidents) == 3 and set(incidents.values()) == {2}
        for request, event in events:
            assert event["data"]["alert"] == "dead_letters" and event["data"]["object"] == "events" and event["data"]["project"] == "p"
            signed = f"{request['headers']['webhook-id']}.{request['headers']['webhook-timestamp']}.".encode() + request["body"]
            mac = hmac.new(b"a secret of alerts", signed, hashlib.sha256).digest()
            assert request["headers"]["webhook-signature"] == "v1," + base64.b64encode(mac).decode()
        # The same event is the same bytes under the same key, however often it was tried.
        bodies = collections.defaultdict(set)
        for request in receiver.requests:
            bodies[request["headers"]["Idempotency-Key"]].add(request["body"])
        assert all(len(b) == 1 for b in bodies.values())


def test_a_receiver_that_is_down_holds_nothing_up_and_gets_it_later(tmp_path):
    with HttpReceiver() as receiver:
        project = Project(tmp_path / "p", PROJECT + hook(receiver))
        receiver.stop()
        with project:
            malformed(project, 0)
            project.feed([{"id": i, "t": "2026-01-01 00:00:00"} for i in range(10)])
            wait_for("the alert waits", lambda: webhook(project).get("waiting"))
            project.feed([{"id": 10, "t": "2026-01-01 00:00:00"}])
            wait_for("the table goes on", lambda: project.sql("SELECT count(*) AS n FROM raw")[0]["n"] == "11")
            assert project.stop() == 0
        receiver.start()
        with project:
            wait_for("told", lambda: told(receiver))
        log = (project.folder / "leat.log").read_text() if (project.folder / "leat.log").exists() else ""
        assert "token=abc" not in log and "a secret" not in log


def test_private_addresses_only_when_allowed(tmp_path):
    with HttpReceiver() as receiver:
        project = Project(tmp_path / "p", PROJECT + hook(receiver, "false"))
        with project:
            malformed(project, 0)
            wait_for("refused", lambda: "allow_private" in webhook(project).get("error", ""))
            project.stop()
        assert not receiver.requests
