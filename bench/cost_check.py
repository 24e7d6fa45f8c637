"""What `leat cost` predicts for a day, beside what real processes then use: CPU seconds a day at each freshness, and predicted / used.

A day of orders is generated and read in; `leat cost` predicts from it. Then the same day is run for real at each freshness:
- 24 h and 1 h: `leat run --once`, as a timer would call it, each time with the records that have come since; the CPU time of all processes of the day.
- below: `leat run`, behind the records that came before, which are read in first; records are appended one by one when they are due, and the CPU time of
  the process over a window is read. libfaketime makes its clock faster (SPEED below), so that a window of hours passes in minutes: the process does the
  same work between shorter sleeps.
Usage: cost_check.py --leat PROGRAM --faketime LIBRARY [--rate N] [--only 24h,5min,...] [--turns N] [--out FILE]
"""
import argparse
import datetime
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
DAY = 86400
# Freshness in seconds: its name; of `leat run`: the window in seconds, some 128 commits as in the prediction, and how much faster the clock runs. Where steps are
# a second or less apart it does not: a busy disk would make the process late, which then takes fewer and larger steps.
POINTS = {86400: ("24h",), 3600: ("1h",), 300: ("5min", 31200, 120), 60: ("1min", 6240, 30), 10: ("10s", 1300, 6), 1: ("1s", 640, 1), 0.1: ("100ms", 640, 1)}
EVENTS = "order_events.ndjson"


def cpu_of(usage):
    return usage.ru_utime + usage.ru_stime


def leat(*arguments, **more):
    """Runs it to its end: CPU seconds."""
    child = subprocess.Popen([args.leat, *arguments], stdout=subprocess.DEVNULL, **more)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"leat {' '.join(arguments)}: exit code {child.returncode}")
    return cpu_of(used)


def micros(text):
    return datetime.datetime.fromisoformat(text.rstrip("Z")).replace(tzinfo=datetime.timezone.utc).timestamp()


class Day:
    """The lines of the day and when each is due: the k-th line at the k-th event time, as `leat cost` takes a day that was loaded at once."""

    def __init__(self, rate):
        self.path = os.path.join(args.work, f"day-{rate}")
        if not os.path.exists(os.path.join(self.path, "planted.json")):
            leat("generate", "--out", self.path, "--seed", "7", "--events", str(int(rate * DAY)), "--rate", str(rate), "--late", "0", "--duplicates", "30", "--malformed", "0")
        with open(os.path.join(self.path, EVENTS), "rb") as file:
            self.lines = file.readlines()
        self.due = sorted(micros(json.loads(line)["event_time"]) for line in self.lines)

    def until(self, moment):
        low, high = 0, len(self.due)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.due[middle] < moment else (low, middle)
        return low


def project(day, name, freshness, lines):
    """The bench's stream project with every table at one freshness, and so many lines of the day in its source."""
    path = os.path.join(args.work, name)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path + "/in")
    with open(HERE + "/projects/stream/project.sql") as file:
        text = file.read()
    with open(path + "/project.sql", "w") as file:
        file.write(text.replace("INTERVAL '1' SECOND", f"INTERVAL '{int(freshness * 1000)}' MILLISECONDS"))
    shutil.copy(day.path + "/products.csv", path + "/in/products.csv")
    append(path, day.lines[:lines])
    return path


def append(path, lines):
    with open(os.path.join(path, "in", EVENTS), "ab", buffering=0) as file:
        file.write(b"".join(lines))


def used_by_timer(day, name, freshness):
    """The day is all processes that a timer starts; the first one, which makes the tables, is of the day before."""
    path, done, cpu, runs = project(day, name, freshness, 0), 0, 0, round(DAY / freshness)
    leat("run", "--once", "--project", path)
    for run in range(1, runs + 1):
        until = len(day.lines) if run == runs else day.until(day.due[0] + run * freshness)
        append(path, day.lines[done:until])
        done = until
        cpu += leat("run", "--once", "--project", path)
    return cpu


def process_cpu(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def used_by_service(day, name, freshness, window, speed):
    end = day.due[-1]
    begin, warm = end - window, max(2.2 * freshness, 30)
    start = begin - warm
    done = day.until(start)
    path = project(day, name, freshness, done)
    leat("run", "--once", "--project", path)
    faster = dict(LD_PRELOAD=args.faketime, FAKETIME=f"+0 x{speed}") if speed != 1 else {}  # from now on: a clock that stepped back would be waited for
    started = time.monotonic()
    child = subprocess.Popen([args.leat, "run", "--project", path], env=dict(os.environ, **faster), stdout=subprocess.DEVNULL)
    first = begun = None
    for i in range(done, len(day.lines) + 1):
        due = day.due[i] if i < len(day.lines) else end
        time.sleep(max(0, started + (due - start) / speed - time.monotonic()))
        if first is None and due >= begin:
            first, begun = process_cpu(child.pid), time.monotonic()
        if i < len(day.lines):
            append(path, [day.lines[i]])
    used, took = process_cpu(child.pid) - first, (time.monotonic() - begun) * speed
    child.send_signal(signal.SIGTERM)
    if child.wait():
        sys.exit(f"leat run at {name}: exit code {child.returncode}")
    return used * DAY / took


def used(day, freshness):
    name, *service = POINTS[freshness]
    return used_by_service(day, "real-" + name, freshness, *service) if service else used_by_timer(day, "real-" + name, freshness)


def predicted(day):
    path = project(day, "predicted", 1, len(day.lines))
    leat("run", "--once", "--project", path)
    out = subprocess.run([args.leat, "cost", "--json", "--project", path], capture_output=True, text=True, check=True).stdout
    return {point["freshness_us"] / 1e6: point["cpu_s"] for point in json.loads(out)["points"]}


def turn(day, only):
    """Real runs of `leat run` sleep nearly all the time: they go on beside each other."""
    real, problems = {}, []

    def one(freshness):
        try:
            real[freshness] = used(day, freshness)
        except BaseException as problem:
            problems.append(f"{POINTS[freshness][0]}: {problem}")
    services = [threading.Thread(target=one, args=(f,)) for f in only if len(POINTS[f]) > 1]
    for thread in services:
        thread.start()
    for freshness in only:
        if len(POINTS[freshness]) == 1:
            one(freshness)
    forecast = predicted(day)
    for thread in services:
        thread.join()
    if problems:
        sys.exit("\n".join(problems))
    for freshness in only:
        print(f"{POINTS[freshness][0]:>6}  predicted {forecast[freshness]:8.2f}  used {real[freshness]:8.2f} CPU s a day  {forecast[freshness] / real[freshness]:.2f}", flush=True)
    return {POINTS[f][0]: dict(predicted=forecast[f], used=real[f], ratio=forecast[f] / real[f]) for f in only}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--leat", required=True)
    parser.add_argument("--work", default="build/cost-check")
    parser.add_argument("--faketime", default=next(iter(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")), None))
    parser.add_argument("--rate", type=float, default=5, help="records a second")
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--only")
    parser.add_argument("--out")
    args = parser.parse_args()
    args.leat, args.work = os.path.abspath(args.leat), os.path.abspath(args.work)
    if not args.faketime:
        sys.exit("libfaketime is missing (Debian: faketime)")
    os.makedirs(args.work, exist_ok=True)
    try:  # a busy machine must not make them late: their seconds are short
        os.nice(-10)
    except PermissionError:
        pass
    the_day = Day(int(args.rate) if args.rate == int(args.rate) else args.rate)
    chosen = [f for f, point in POINTS.items() if not args.only or point[0] in args.only.split(",")]
    turns = [turn(the_day, chosen) for _ in range(args.turns)]
    if args.out:
        with open(args.out, "w") as file:
            json.dump(turns, file, indent=1)
    worst = max(abs(point["ratio"] - 1) for each in turns for point in each.values())
    print(f"farthest from 1: {100 * worst:.0f} %")
