#!/usr/bin/env python3
"""What those who operate leat rely on, of the program itself: metrics, health, logs as JSON, completion, man and reference pages. Usage: operate.py LEAT FOLDER SOURCE"""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request

LEAT, WORK, SOURCE = os.path.abspath(sys.argv[1]), pathlib.Path(sys.argv[2]).resolve(), pathlib.Path(sys.argv[3]).resolve()
PROJECT = """
CREATE SOURCE events (id BIGINT NOT NULL, t TIMESTAMP NOT NULL, WATERMARK FOR t AS t) WITH (connector = 'file', path = 'in/*.ndjson');
CREATE MATERIALIZED TABLE raw FRESHNESS = INTERVAL '100' MILLISECOND AS SELECT id FROM events;
"""


def check(condition, *what):
    if not condition:
        raise AssertionError(" ".join(map(str, what)))


def leat(*arguments):
    return subprocess.run([LEAT, *arguments], capture_output=True, text=True, check=True).stdout


def pages():
    for page in ("settings", "connectors", "sinks", "metrics", "commands"):
        check(leat("reference", "--page", page) == (SOURCE / f"docs/reference/{page}.md").read_text(),
              f"docs/reference/{page}.md is not what the program says: leat reference --page {page} > docs/reference/{page}.md")
    commands = re.findall(r"^  (\S+)", leat("--help").split("Commands:")[1], re.M)
    manual, bash = leat("reference", "--page", "leat.1"), leat("completion", "bash")
    check(len(commands) > 20, commands)
    for command in commands:
        check(f".SS leat {command}\n" in manual and f"    {command}) words=" in bash, command)
        for option in re.findall(r"^  --(\S+)", leat(command, "--help"), re.M):
            check(f"\\fB\\-\\-{option.replace('-', chr(92) + '-')}\\fR" in manual, "leat.1 lacks", command, option)
            check(f"--{option}" in re.search(rf"^    {command}\) words=\"(.*)\"", bash, re.M)[1].split(), "completion lacks", command, option)
    if shutil.which("groff"):
        for page in ("leat.1", "leat-settings.5"):
            done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z"], input=leat("reference", "--page", page), capture_output=True, text=True)
            check(done.returncode == 0 and not done.stderr, page, done.stderr)
    for shell in ("bash", "zsh", "fish"):
        if shutil.which(shell):
            subprocess.run([shell, "-n"], input=leat("completion", shell), text=True, check=True)


def complete(*words):
    script = leat("completion", "bash") + f"COMP_WORDS=({' '.join(repr(w) for w in words)}); COMP_CWORD={len(words) - 1}; _leat; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.split()


def completion():
    check(complete("leat", "comp") == ["completion"], complete("leat", "comp"))
    check(complete("leat", "run", "--li") == ["--listen"], complete("leat", "run", "--li"))
    check(complete("leat", "status", "--log", "") == ["text", "json"], complete("leat", "status", "--log", ""))


def get(address, path, token=None):
    request = urllib.request.Request(address + path, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


def service():
    (WORK / "in").mkdir(parents=True)
    (WORK / "project.sql").write_text(PROJECT)
    (WORK / "in/a.ndjson").write_text('{"id": 1, "t": "2026-01-01 00:00:00"}\nnot json\n')
    process = subprocess.Popen([LEAT, "run", "--listen", "127.0.0.1:0", "--log", "json", "--project", str(WORK)], stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "LEAT_TOKENS": "read reader-token-of-this-test\nwrite writer-token-of-this-test\n"})
    lines = []
    try:
        while not lines or "listens at" not in lines[-1]["message"]:
            line = process.stderr.readline()
            check(line, "it ended", lines)
            lines.append(json.loads(line))
        address = lines[-1]["message"].split()[-1]
        check(get(address, "/healthz")[0] == 200 and get(address, "/readyz")[0] == 200)
        check(get(address, "/metrics")[0] == 401 and get(address, "/metrics", "writer-token-of-this-test")[0] == 403)
        while True:
            status, kind, text = get(address, "/metrics", "reader-token-of-this-test")
            check(status == 200 and kind == "text/plain; version=0.0.4; charset=utf-8", status, kind)
            if 'leat_source_records_total{source="events"} 2\n' in text and "leat_alert_raised{" in text:
                break
        check('leat_table_freshness_seconds{table="raw"} 0.1\n' in text, text)
        while not any("alert dead_letters" in line["message"] for line in lines):
            lines.append(json.loads(process.stderr.readline()))
    finally:
        process.send_signal(signal.SIGTERM)
        rest = process.communicate(timeout=60)[1]
    lines += [json.loads(line) for line in rest.splitlines()]
    check(process.returncode == 0, process.returncode)
    for line in lines:
        check(set(line) == {"time", "level", "message"} and line["level"] in ("info", "warn", "error"), line)
        check(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"]), line)


shutil.rmtree(WORK, ignore_errors=True)
pages()
completion()
service()
print("operate: ok")
