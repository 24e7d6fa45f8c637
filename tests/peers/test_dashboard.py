"""The dashboard in a headless Chromium, over the running orders example: every view by its links, at three widths, light and dark, by
keyboard, with no error in the console. DASHBOARD_PICTURES=FOLDER keeps a picture of each."""
import json
import os
import pathlib
import re
import subprocess
import time
import urllib.parse
import urllib.request

import pytest

from browser import Browser, available

ROOT = pathlib.Path(__file__).resolve().parents[2]
LEAT = os.environ.get("LEAT", str(ROOT / "build/dev/leat"))
SIZES = [(390, 844), (768, 1024), (1440, 900)]
VIEWS = ["#/", "#/tables", "#/table/order_status", "#/table/fraud_alerts", "#/table/gold_daily_revenue", "#/sources", "#/source/order_events", "#/source/products",
         "#/runs", "#/cost", "#/sql"]

pytestmark = pytest.mark.skipif(not available(), reason="chromium and chromedriver are not here: scripts/bootstrap --peers installs them")


def leat(*words, **options):
    return subprocess.run([LEAT, *map(str, words)], check=True, capture_output=True, text=True, **options).stdout


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """The example with its night behind it, serving; append(n) lets n more events come in."""
    folder = tmp_path_factory.mktemp("shop")
    for name in ("sources", "live", "nightly"):
        (folder / f"{name}.sql").write_text((ROOT / f"examples/orders/{name}.sql").read_text())
    (folder / "more.sql").write_text("CREATE MATERIALIZED TABLE revenue_by_minute FRESHNESS = INTERVAL '1' SECOND AS SELECT window_start, count(*) AS orders, "
                                     "sum(amount) AS revenue FROM TUMBLE(order_events, event_time, INTERVAL '1' MINUTE) WHERE status = 'paid' GROUP BY window_start;\n"
                                     "SET drift_watch = 20;\n"
                                     "CREATE CHECK seen COMPARE order_status WITH (SELECT order_id, max(event_time) AS updated_at FROM order_events GROUP BY order_id) BY order_id;\n"
                                     "CREATE CHECK ledger COMPARE revenue_by_minute WITH (SELECT date_trunc('minute', event_time) AS window_start, count(*) + 1 AS orders FROM order_events "
                                     "WHERE status = 'paid' GROUP BY ALL) BY window_start;\n")
    leat("generate", "--out", folder / "day", "--events", 30000, "--rate", 20, "--fraud", 4, "--late", 8, "--malformed", 6)
    (folder / "in").mkdir()
    for file in (folder / "day").glob("products*.csv"):
        (folder / "in" / file.name).write_bytes(file.read_bytes())
    lines = (folder / "day/order_events.ndjson").read_bytes().splitlines(keepends=True)
    (folder / "in/order_events.ndjson").write_bytes(b"".join(lines[:25000]))
    (folder / "in/payments.ndjson").write_bytes((folder / "day/payments.ndjson").read_bytes())
    leat("run", "--once", "--all", "--max-step-rows", 1000, "--project", folder)
    leat("cost", "--sample", 10, "--rounds", 1, "--project", folder)
    log = (folder / "run.log").open("w+")
    process = subprocess.Popen([LEAT, "run", "--listen", "127.0.0.1:0", "--project", str(folder)], stdout=log, stderr=log)
    try:
        address = None
        while not address:
            assert process.poll() is None, (folder / "run.log").read_text()
            found = re.search(r"leat listens at (http://\S+)", (folder / "run.log").read_text())
            address = found and found[1]
            time.sleep(0.05)
        rest = iter(range(25000, 30000, 100))

        def append():
            at = next(rest)
            with (folder / "in/order_events.ndjson").open("ab") as file:
                file.write(b"".join(lines[at:at + 100]))

        yield address, append
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def browser(shop, tmp_path_factory):
    b = Browser(tmp_path_factory.mktemp("chromium"))
    yield b
    b.close()


def keep(browser, name):
    if os.environ.get("DASHBOARD_PICTURES"):
        browser.picture(pathlib.Path(os.environ["DASHBOARD_PICTURES"]) / f"{name}.png")


def show(browser, address, view):
    browser.go(f"{address}/{view}")
    browser.wait("return document.querySelector('#link.live') && document.querySelector('main h1')")
    browser.wait("return !/Reading…|Running…/.test(document.querySelector('main').innerText)")


def test_overview_tells_how_it_is(shop, browser):
    address, append = shop
    show(browser, address, "")
    browser.wait_text("order_status", "at most 1 second old", "made anew daily at 02:00", "could not be read", "came too late")
    nodes = browser.run("return [...document.querySelectorAll('.lineage a')].map((a) => a.getAttribute('aria-label'))")
    assert any(n.startswith("table fraud_alerts") and "velocity" in n for n in nodes), nodes
    assert len(nodes) == 4 + 7 + 7, nodes  # sources, views, tables
    before = browser.run("return document.querySelector('.tile b').textContent")
    append()
    browser.wait("return document.querySelector('.tile b').textContent !== arguments[0]", before)  # by itself, by Server-Sent Events
    assert browser.complaints() == []


def test_overview_tells_what_was_compared(shop, browser):
    """The drift watch (a table against its own query) and checks (against the books): what was compared, when, and what came of it."""
    address, append = shop
    show(browser, address, "")
    append()
    browser.wait_text("Compared", "its own query", "check seen", "check ledger", "The drift watch has verified")
    rows = browser.run("return [...document.querySelectorAll('.panel')].find((p) => p.querySelector('h2')?.textContent === 'Compared').querySelectorAll('tbody tr').length")
    assert rows >= 3
    browser.wait("return [...document.querySelectorAll('tr')].some((r) => r.textContent.includes('its own query') && r.textContent.includes('equal'))")
    browser.wait("return [...document.querySelectorAll('tr')].some((r) => r.textContent.includes('check ledger') && /rows? differ/.test(r.textContent))")
    browser.wait("return [...document.querySelectorAll('.alerts li.bad')].some((r) => r.textContent.includes('ledger'))")
    said = browser.run("return [...document.querySelectorAll('.alerts li')].map((r) => r.textContent)")
    assert not any(re.match(r"(\w+) (source|table|check) \1\b", text) for text in said), said  # the name once


def test_cost_of_each_freshness(shop, browser):
    """What leat cost measured: a row for each freshness, and the slider of a table says it."""
    address, _ = shop
    show(browser, address, "#/cost")
    browser.wait_text("Every table at one freshness", "a timer: off in between")
    browser.run("location.hash = '#/table/order_status'")
    browser.wait_text("Measured by leat cost", "CPU seconds a day")


@pytest.mark.parametrize("width,height", SIZES)
@pytest.mark.parametrize("dark", [False, True])
def test_every_view_fits_and_is_labelled(shop, browser, width, height, dark):
    address, append = shop
    browser.size(width, height, dark)
    for view in VIEWS:
        show(browser, address, view)
        if view == "#/table/order_status":
            for _ in range(6):  # the chart of freshness is drawn from the second point on; there is one in ten seconds
                append()
                time.sleep(3)
                if browser.run("return document.querySelectorAll('.chart canvas').length >= 2"):
                    break
            browser.wait("return document.querySelectorAll('.chart canvas').length >= 2")
        wide = browser.run("return [document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1], f"{view} is {wide[0]} wide at {width}"
        said = browser.run("return document.body.innerText")
        assert not any(word in said for word in ("NaN", "undefined", "[object")), f"{view}: {said}"
        unnamed = browser.run("""return [...document.querySelectorAll('main button, main a, main input, main select, main textarea, [role=img]')].filter((e) => {
            const text = e.getAttribute('aria-label') || e.textContent.trim() || e.closest('label')?.textContent.trim() || (e.id && document.querySelector(`label[for=${e.id}]`)?.textContent);
            return !text;
        }).map((e) => e.outerHTML.slice(0, 120))""")
        assert unnamed == [], view
        hidden = browser.run(HIDDEN) if width < 500 else []
        assert hidden == [], f"{view}: {hidden}"
        low = browser.run(CONTRAST)
        assert low == [], f"{view}: {low}"
        keep(browser, f"{view.strip('#/').replace('/', '-') or 'overview'}-{width}-{'dark' if dark else 'light'}")
    assert browser.complaints() == []


# On a phone: cells of the dashboard's own tables that cannot be seen without scrolling sideways. (Tables of the user's rows may be as wide as they are.)
HIDDEN = """return [...document.querySelectorAll('table:not(.data) td, table:not(.data) th')].filter((e) => e.offsetParent && !e.closest('thead') && e.getBoundingClientRect().right > innerWidth + 1)
    .map((e) => e.outerHTML.slice(0, 80));"""

# Text that stands out too little from what is behind it (WCAG 2: 4.5 to 1).
CONTRAST = """
const parse = (c) => c.match(/[0-9.]+/g).map(Number), light = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0.9) return c; } return [255, 255, 255]; };
return [...document.querySelectorAll('main *')].filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) && e.offsetParent && !e.closest('svg') && !e.disabled)
    .map((e) => { const a = light(parse(getComputedStyle(e).color)), b = light(behind(e)); return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e]; })
    .filter(([ratio]) => ratio < 4.5).map(([ratio, e]) => ratio.toFixed(2) + ' ' + e.outerHTML.slice(0, 80));
"""


def test_by_keyboard(shop, browser):
    address, _ = shop
    browser.size(1440, 900)
    show(browser, address, "")
    browser.keys("\ue004")  # Tab
    assert browser.run("return document.activeElement.textContent") == "Skip to content"
    reached = set()
    for _ in range(40):
        browser.keys("\ue004")
        reached.add(browser.run("const e = document.activeElement; return (e.getAttribute('aria-label') || e.textContent).trim()"))
        if browser.run("return document.activeElement.getAttribute('href')?.startsWith('#/table/fraud_alerts') ?? false"):
            break
    assert {"Overview", "Tables", "SQL"} <= reached, reached
    browser.keys("\ue007")  # Enter, on fraud_alerts in the lineage
    browser.wait("return location.hash === '#/table/fraud_alerts' && document.querySelector('h1').textContent.startsWith('fraud_alerts')")
    assert browser.run("return document.activeElement.id") == "main"
    assert browser.run("return document.title") == "fraud_alerts · leat"


def test_table_rows_chart_and_downloads(shop, browser):
    address, _ = shop
    show(browser, address, "#/table/gold_daily_revenue")
    browser.wait("return document.querySelector('.chart canvas')")
    expected = json.load(urllib.request.urlopen(urllib.request.Request(f"{address}/v1/sql", b"SELECT category, sum(revenue) FROM gold_daily_revenue GROUP BY ALL", {"Content-Type": "text/plain"})))
    browser.click("figure details summary")
    shown = browser.run("return [...document.querySelectorAll('figure tbody tr')].map((r) => [r.querySelector('th').textContent, r.querySelector('td').textContent.replaceAll(',', '')])")
    assert {(name, round(float(v), 2)) for name, v in shown} == {(name, round(float(v), 2)) for name, v in expected["rows"]}
    # Pages of a larger table, sorted, filtered.
    show(browser, address, "#/table/silver_orders")
    browser.wait_text("Page 1 of")
    total = browser.run("return document.querySelector('table.data caption').textContent")
    assert int(re.match(r"[\d,]+", total)[0].replace(",", "")) > 20000
    browser.click("#page-last")
    browser.wait("return document.querySelector('#page-next').disabled")
    browser.run("document.querySelector('#filter').value = \"amount > 5000 AND status = 'placed'\"; document.querySelector('form.bar').requestSubmit()")
    browser.wait_text("that fit")
    browser.run("document.querySelector('#filter').value = 'no such thing'; document.querySelector('form.bar').requestSubmit()")
    browser.wait("return document.querySelector('.error')")


def test_provisional_and_final(shop, browser):
    address, _ = shop
    show(browser, address, "#/table/revenue_by_minute")
    # How many are provisional still depends on how long ago the shop went idle.
    browser.wait("return [...document.querySelectorAll('table.data .badge')].some((b) => b.textContent === 'final')")
    states = browser.run("return [...document.querySelectorAll('table.data .badge')].map((b) => b.textContent)")
    assert set(states) <= {"final", "provisional"} and "final" in states, states
    show(browser, address, "#/table/gold_daily_revenue")
    browser.wait_text("final until the next run")


def test_sql_box(shop, browser):
    address, _ = shop
    query = "SELECT status, count(*) AS orders FROM order_status GROUP BY ALL ORDER BY 2 DESC"
    show(browser, address, f"#/sql/{urllib.parse.quote(query)}")
    browser.wait("return document.querySelectorAll('table.data:has(caption) tbody tr').length === 6")
    browser.run("const q = document.querySelector('#query'); q.value = 'SELECT nothing FROM nowhere'; q.focus()")
    browser.click("#run")
    browser.wait("return document.querySelector('.error')?.textContent.includes('nowhere')")
    browser.run("document.querySelector('#query').value = \"SELECT '<img src=x onerror=alert(1)>' AS html\"")
    browser.click("#run")
    browser.wait("return document.querySelector('table.data:has(caption) td')?.textContent.startsWith('<img')")
    assert browser.run("return document.querySelector('main img')") is None
    browser.run("document.querySelector('#query').value = 'SELECT range AS n, range % 7 AS seven FROM range(10000)'")
    browser.click("#run")
    browser.wait_text("10000 rows")
    assert browser.run("return document.querySelectorAll('table.data:has(caption) tbody tr').length") == 500


def test_the_dial(shop, browser):
    """SET FRESHNESS by the slider, with the keyboard, while records come in."""
    address, append = shop
    browser.size(1440, 900)
    show(browser, address, "#/table/revenue_by_minute")
    browser.wait("return document.querySelector('#dial')")
    browser.run("document.querySelector('#dial').focus()")
    browser.keys("\ue014")  # right
    assert "5 seconds" in browser.run("return document.querySelector('#dial').getAttribute('aria-valuetext')")
    append()
    browser.run("[...document.querySelectorAll('main button')].find((b) => b.textContent === 'Apply').click()")
    browser.wait_text("Done")
    browser.wait("return document.querySelector('h1 + p').textContent.includes('At most 5 seconds old')")
    status = json.load(urllib.request.urlopen(f"{address}/v1/status"))
    assert {t["name"]: t.get("freshness_us") for t in status["tables"]}["revenue_by_minute"] == 5000000
