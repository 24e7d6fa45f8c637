// The dashboard: routes to views, the live status, what each view shows.
import { events, get, name as quote, Problem, request, sql } from "./api.js";
import { browser, download, grid, guess, picture, pictureControls } from "./browse.js";
import { chart } from "./chart.js";
import { h, replace, say } from "./dom.js";
import { ago, bytes, cell, count, plural, share, short, span, time, utc, words } from "./format.js";
import { lineage } from "./lineage.js";
import { alerts, asked, attained, graphOf, group, health, isContinuous, lag, model, sinkHealth, sinks, source, table, totals } from "./model.js";

const main = document.getElementById("main");
const link = (kind, name) => h("a", { href: `#/${kind}/${encodeURIComponent(name)}` }, name);
const dot = (state) => h("i", { class: `dot ${state ?? ""}`, "aria-hidden": "true" });
const panel = (title, ...content) => h("section", { class: "panel" }, title ? h("h2", {}, title) : null, content);
const badge = (text, state) => h("span", { class: `badge ${state ?? ""}` }, text);
const STATES = { good: "as asked", warn: "look at it", bad: "not well" };
const stateBadge = (state) => badge(STATES[state] ?? "not yet", state);

// ---- pieces ----

// Freshness asked and attained as a bar: the asked one is at four fifths of it.
function meter(t) {
  if (!isContinuous(t)) return null;
  const age = attained(t), state = health(t).state, part = Math.min(1, age / (t.freshness_us * 1.25));
  return h("div", { class: `meter ${state === "good" ? "" : state}`, role: "img", "aria-label": `${span(age)} old of ${words(t.freshness_us)} allowed` }, h("i", { style: `width: ${100 * part}%` }));
}
function balance(b, unit = "record") {
  const part = (n) => (b.in ? `${(100 * n) / b.in}%` : "0");
  return h("div", {}, h("div", { class: "balance", role: "img", "aria-label": `${b.in} in: ${b.admitted} admitted, ${b.late} late, ${b.dead} dead` },
    ["admitted", "late", "dead"].map((k) => (b[k] ? h("i", { class: k, style: `width: ${part(b[k])}` }) : null))),
  h("ul", { class: "key" }, h("li", { style: "--swatch: var(--good)" }, `${count(b.admitted)} admitted`),
    h("li", { style: "--swatch: var(--warn)" }, `${count(b.late)} late (${share(b.late, b.in)})`), h("li", { style: "--swatch: var(--bad)" }, `${count(b.dead)} dead (${share(b.dead, b.in)})`),
    b.stale ? h("li", {}, `${count(b.stale)} stale`) : null),
  h("p", { class: "small quiet" }, `${plural(b.in, unit).replace(/^\d+/, count)} came in. ${b.in === b.admitted + b.late + b.dead + (b.stale ?? 0) ? "Every one is accounted for." : "This does not add up."}`));
}
function alertList(list, limit = 50) {
  if (!list.length) return h("p", { class: "quiet" }, "Nothing. Every table is as fresh as asked, and every record was usable.");
  return h("ul", { class: "alerts" }, list.slice(0, limit).map((a) => h("li", { class: a.state }, h("a", { href: a.href }, a.name), ` ${a.text}`)));
}
function freshness(t) {
  if (!isContinuous(t)) return t.last_run_us ? `as of ${ago(t.last_run_us, model.now())}${t.running_since_us ? ", running" : ""}` : t.running_since_us ? "running" : "never run";
  const wait = lag(t);
  return wait > t.freshness_us ? `${span(wait)} behind` : "up to date";
}
// CPU time of a table since the start: its share of the steps, its runs, its commits.
const cpu = (t) => (t.step_cpu_us ?? 0) + (t.batch_cpu_us ?? 0) + (t.commit_cpu_us ?? 0);
const history = () => model.status.history ?? [];

// A table whose first column names the row; on a phone each row is a card. columns: [name, kind, label]: "number" stands to the right, on a card with
// its name; "whole" takes the card's width, behind the label where there is one. rows: a list of cells each.
function listing(columns, rows, caption = null) {
  const kind = (i) => columns[i][1] ?? null, label = (i) => columns[i][2] ?? (kind(i) === "number" ? columns[i][0].toLowerCase() : null);
  return h("div", { class: "scroll" }, h("table", { class: "cards" }, caption ? h("caption", {}, caption) : null,
    h("thead", {}, h("tr", {}, columns.map(([name], i) => h("th", { scope: "col", class: kind(i) === "number" ? "number" : null }, name)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((content, i) => (i ? h("td", { class: kind(i), "data-label": label(i) }, content) : h("th", { scope: "row", class: kind(0) }, content))))))));
}
const bar = (part, state) => h("div", { class: `meter ${state ?? ""}` }, h("i", { style: `width: ${100 * part}%` }));

function tableRows(tables) {
  return listing([["Table"], ["May be", "whole"], ["Is", "whole"], ["Rows", "number"], ["Late", "number"], ["Dead", "number"]], tables.map((t) => {
    const b = totals(t), s = health(t);
    return [[dot(s.state), link("table", t.name), h("span", { class: "unseen" }, ` ${STATES[s.state] ?? ""}`)], asked(t), [freshness(t), meter(t)], count(t.rows), count(b.late), count(b.dead)];
  }));
}

// Whether tables are what they should be: those that are watched against their own query, and checks against the system of record.
function proofs() {
  const watch = model.status.drift_watch, named = new Set(model.status.tables.map((t) => t.name));
  const found = (differing, error, checked) => (error ? badge("failed", "bad") : !checked ? badge("not yet", null) : differing ? badge(`${plural(differing, "row")} differ`, "bad") : badge("equal", "good"));
  const rows = (model.status.checks ?? []).map((c) => [link("table", c.table), `check ${c.name}`, [found(c.differing, c.error, c.checked_us), c.error ? h("div", { class: "small bad" }, c.error) : null], c.checked_us ? ago(c.checked_us, model.now()) : "–",
    c.differing ? h("a", { class: "button plain", href: `#/sql/${encodeURIComponent(`SELECT * FROM ${quote(`${c.name}__differences`)} LIMIT 100`)}` }, "Which rows") : `${count(c.rows)} rows`]);
  for (const [name, seen] of Object.entries(watch?.tables ?? {}))
    if (named.has(name)) rows.push([link("table", name), "its own query", found(seen.differing, null, true), ago(seen.checked_us, model.now()),
      name !== watch.table ? "" : watch.to_us ? `${utc(watch.from_us)} to ${utc(watch.to_us)}` : "all of it"]);
  if (!rows.length) return null;
  return [listing([["Table"], ["Compared with", "whole", "compared with"], ["Found", "whole"], ["When", "whole"], ["What", "whole"]], rows),
    watch ? h("p", { class: "small quiet" }, `The drift watch has verified ${plural(watch.periods, "period").replace(/^\d+/, count)} since the start; ${watch.differing ? `${plural(watch.differing, "row")} differed` : "no row differed"}.`) : null];
}

// ---- views: each gives {title, body, update(status)} ----

function overview() {
  const top = h("div", {}), graph = h("div", {}), list = h("div", {});
  const update = () => {
    const s = model.status, found = alerts(), serious = found.filter((a) => a.state !== "info"), state = serious.some((a) => a.state === "bad") ? "bad" : serious.length ? "warn" : "good";
    const records = s.sources.reduce((n, x) => n + (x.records ?? 0), 0), dead = s.sources.reduce((n, x) => n + (x.dead ?? 0), 0), late = s.tables.reduce((n, t) => n + totals(t).late, 0);
    replace(top, h("div", { class: "headline" }, dot(state), h("div", {}, h("h1", {}, serious.length ? `${plural(new Set(serious.map((a) => a.name)).size, "thing")} to look at` : "Every table is as fresh as asked"),
      h("p", {}, `${plural(s.tables.length, "table")} from ${plural(s.sources.length, "source")}${sinks().length ? `, ${plural(sinks().length, "sink")}` : ""}. Whatever its freshness, a table shows what its query says.`))),
    h("div", { class: "tiles" }, tile(short(records), "records in", "#/sources"), tile(model.rate == null ? "–" : short(model.rate), "records a second now", "#/sources"),
      tile(count(late), "came too late for a table", "#/tables"), tile(count(dead), "could not be read", "#/sources"), tile(span(s.cpu_us), "CPU time since the start", "#/cost"), tile(bytes(s.peak_bytes), "memory at most", "#/cost")));
    const g = graphOf(), proven = proofs();
    replace(graph, g.nodes.length ? lineage(g.nodes, g.edges) : h("p", { class: "quiet" }, "No lineage."));
    replace(list, h("div", { class: "grid" }, panel("Worth knowing", alertList(found, 8)), panel("Tables", tableRows(s.tables))), proven ? panel("Compared", proven) : null);
  };
  return { title: "Overview", body: h("div", {}, top, panel("From sources to tables", graph), list), update };
}
function tile(value, what, href) {
  return h("a", { class: "tile", href }, h("b", {}, value), h("span", {}, what));
}

function tablesView() {
  const list = h("div", {});
  return { title: "Tables", body: h("div", {}, h("h1", {}, "Tables"), panel(null, list)), update: () => replace(list, tableRows(model.status.tables)) };
}

// What leat cost measured: CPU seconds a day of the table at that freshness; between two that were measured, in proportion.
function costAt(name, us) {
  const points = (model.costs?.points ?? []).filter((p) => p.tables[name] !== undefined).sort((a, b) => a.freshness_us - b.freshness_us);
  const above = points.findIndex((p) => p.freshness_us >= us);
  if (above < 0 || (above === 0 && points[0].freshness_us !== us)) return null;
  const high = points[above], low = points[Math.max(0, above - 1)];
  if (high.freshness_us === us) return high.tables[name];
  const part = Math.log(us / low.freshness_us) / Math.log(high.freshness_us / low.freshness_us);
  return low.tables[name] + part * (high.tables[name] - low.tables[name]);
}
const money = (p) => (p ? `${(p.money_machine + p.money_requests).toFixed(2)} ${model.costs.currency}` : "an amount that was not measured");

const FRESHNESS = [100e3, 1e6, 5e6, 10e6, 60e6, 300e6, 3600e6, 86400e6];

// Until the change is done. The server is closed for a moment meanwhile.
async function changed(id) {
  for (let tries = 0; tries < 600; tries++) {
    await new Promise((done) => setTimeout(done, 300));
    const answer = await request(`v1/alter/${id}`).catch((error) => { if (error instanceof Problem && error.status !== 503) throw error; });
    if (answer?.status === 200) return;
  }
  throw new Error("It is not done yet; the status will show it.");
}

// SET FRESHNESS by a slider; what each would cost is measured by `leat cost`.
function dial(t) {
  const nearest = FRESHNESS.reduce((best, f, i) => (Math.abs(Math.log(f / t.freshness_us)) < Math.abs(Math.log(FRESHNESS[best] / t.freshness_us)) ? i : best), 0);
  const told = h("output", { for: "dial" }), result = h("div", { role: "status" }), cost = h("p", { class: "small quiet" });
  const slider = h("input", { type: "range", id: "dial", min: 0, max: FRESHNESS.length - 1, step: 1, value: nearest, list: "dial-steps", "aria-describedby": "dial-cost" });
  const apply = h("button", { type: "button" }, "Apply");
  const show = () => {
    const us = FRESHNESS[slider.value];
    slider.setAttribute("aria-valuetext", words(us));
    told.textContent = `at most ${words(us)} old`;
    apply.disabled = us === t.freshness_us;
    const now = costAt(t.name, t.freshness_us), then = costAt(t.name, us), all = model.costs?.points.find((p) => p.freshness_us === us);
    cost.textContent = then === null ? "What each would cost: run leat cost, which measures it on your own recorded input."
      : `Measured by leat cost: ${then.toFixed(1)} CPU seconds a day${now === null || us === t.freshness_us ? "" : `, instead of ${now.toFixed(1)}`}. With every table at it: ${money(all)} a month.`;
  };
  slider.addEventListener("input", show);
  apply.addEventListener("click", async () => {
    const statement = `ALTER MATERIALIZED TABLE ${quote(t.name)} SET FRESHNESS = INTERVAL '${words(FRESHNESS[slider.value])}'`;
    apply.disabled = true;
    replace(result, h("p", { class: "quiet" }, "Asked for…"));
    try {
      const { change } = await (await request("v1/alter", { method: "POST", body: statement, headers: { "Content-Type": "text/plain" } })).json();
      await changed(change);
      replace(result, h("p", { class: "good" }, "Done: state and content stayed."));
      say("The freshness is changed.");
    } catch (error) {
      replace(result, h("div", { class: "error", role: "alert" }, error.status === 403 ? "This needs a token with the role admin." : error.message));
    }
    show();
  });
  show();
  return h("div", {}, h("div", { class: "bar" }, h("label", { for: "dial" }, "May be"), told), slider,
    h("datalist", { id: "dial-steps" }, FRESHNESS.map((f, i) => h("option", { value: i, label: words(f) }))), h("div", { id: "dial-cost" }, cost),
    model.canAlter ? h("div", { class: "actions" }, apply) : h("p", { class: "small quiet" }, "Set FRESHNESS in the project's file to change it."), result);
}

function tableView(name) {
  const head = h("div", {}), facts = h("div", {}), wait = h("div", {}), graph = h("div", {}), account = h("div", {}), runs = h("div", {});
  // Where rows become final: of windows, those that the watermark has passed; of a run, all until the next.
  const final = (columns) => {
    const f = table(name)?.final;
    const at = f ? columns.findIndex((c) => c.name === f.column) : -1;
    if (at < 0) return null;
    return (row) => row[at] !== null && Date.parse(`${String(row[at]).replace(" ", "T").replace(/^(\d{4}-\d\d-\d\d)$/, "$1T00:00:00")}Z`) * 1000 + f.span_us <= (f.before_us ?? -Infinity);
  };
  const content = browser(name, { final });
  const sides = h("div", {});
  let drawn = 0, dialFor = null;
  const turn = h("div", {});
  const update = () => {
    const t = table(name), now = model.now();
    if (!t) return replace(head, h("h1", {}, name), h("p", {}, "There is no such table."));
    const s = health(t), g = group(t);
    replace(head, h("p", { class: "crumbs" }, h("a", { href: "#/tables" }, "Tables"), " / ", name), h("h1", {}, dot(s.state), name, " ", stateBadge(s.state)),
      h("p", { class: "quiet" }, `${asked(t)[0].toUpperCase()}${asked(t).slice(1)}: ${s.why}.`));
    const holder = g?.held_by;
    replace(facts, h("dl", { class: "facts" }, [
      ["Rows", count(t.rows)], ["How it is kept", t.kept === "incremental" ? "as a stream: each record changes what it touches" : t.kept === "scheduled" ? "as a batch: made anew on schedule" : "made anew whenever its inputs change"],
      g && ["Old right now", span(lag(t))], g && ["Kept as fresh as asked", g.steps ? `${share(g.met, g.steps)} of ${plural(g.steps, "step").replace(/^\d+/, count)} since the start` : "no step yet"],
      g && holder && ["Event time has come to", Object.keys(g.watermarks).length ? `${utc(Math.min(...Object.values(g.watermarks)))} (watermark)` : "not known yet"],
      g && holder && ["Held back by", `source ${holder.source}${holder.partition === undefined ? "" : `, partition ${holder.partition}`}`],
      !g && ["Last run", t.last_run_us ? `${time(t.last_run_us)} (${ago(t.last_run_us, now)}), ${span(t.last_cpu_us)} of CPU` : "never"], t.running_since_us && ["Running", `since ${time(t.running_since_us)}`], !g && t.next_run_us && ["Next run", `${time(t.next_run_us)} (${ago(t.next_run_us, now)})`],
      ["Provisional or final", t.final ? "rows of windows that event time has passed are final; a restatement may still correct them" : g ? "follows its input: every row is as of the last step" : "final until the next run"],
      t.withheld ? ["Withheld", `${plural(t.withheld, "row")} whose value cannot be computed`] : null, t.restated ? ["Restated", `${plural(t.restated, "late record")} admitted, last ${ago(t.restated_us, now)}`] : null,
      ...Object.entries(t.violations ?? {}).map(([c, n]) => [`Constraint ${c}`, n ? `${plural(n, "row")} violate it` : "nothing violates it"]),
      ["On disk", `${bytes(t.bytes)} in ${plural(t.files, "file")}, Delta version ${t.version}`],
      ["Cost", `${span(cpu(t))} of CPU since the start`],
    ].filter(Boolean).map(([k, v]) => [h("dt", {}, k), h("dd", {}, v)])));
    const b = totals(t);
    replace(account, b.in ? balance(b) : h("p", { class: "quiet" }, "It reads other tables only; their accounts hold for it too."));
    const around = graphOf(`object:${name}`);
    replace(graph, around.nodes.length ? lineage(around.nodes, around.edges, `object:${name}`) : h("p", { class: "quiet" }, "No lineage."));
    const own = history().filter((r) => r.table === name);
    if (!g) replace(runs, runTable(own.slice(-12).reverse(), false));
    if (g && Date.now() - drawn > 9000) {
      drawn = Date.now();
      const points = g.attained;
      replace(wait, points.length > 1 ? chart({ title: `How old ${name} was at each moment, against the ${words(t.freshness_us)} asked`, height: 200, unit: " s", marks: [{ y: t.freshness_us / 1e6 }],
        x: { name: "Time", time: true, utc: false, values: points.map((p) => p[0] / 1e6) }, series: [{ name: "oldest record taken in (s)", values: points.map((p) => p[1] / 1e6) }] }) : h("p", { class: "quiet" }, points.length ? `One step since the start: ${span(points[0][1])} old at most. Drawn from the second on.` : "Nothing has come in since the start."),
      points.length > 1 ? h("p", { class: "small quiet" }, `The dashed line is the freshness asked: ${words(t.freshness_us)}.`) : null);
    }
    if (isContinuous(t) && dialFor !== t.freshness_us && document.activeElement?.id !== "dial") {
      dialFor = t.freshness_us;
      replace(turn, dial(t));
    }
    if (!sides.childElementCount) replace(sides, sideLinks(t));
  };
  const t = table(name), continuous = t && isContinuous(t);
  return {
    title: name, update,
    body: h("div", {}, head, h("div", { class: "grid" }, panel("Chart", content.chart), panel("State", facts)),
      h("div", { class: "grid" }, continuous ? panel("Freshness asked and attained", wait) : panel("Runs", runs), panel("Where its records went", account, sides), continuous ? panel("How long can the business wait?", turn) : null),
      panel("What it is made of, and who reads it", graph), panel("Rows", content.rows)),
  };
}
function sideLinks(t) {
  const links = [];
  const b = totals(t);
  if (b.late) links.push(["Late records", `SELECT * FROM ${quote(`${t.name}__late`)} ORDER BY arrival DESC LIMIT 100`]);
  if (t.restated) links.push(["Restatements: old, new, why", `SELECT * FROM ${quote(`${t.name}__restatements`)} ORDER BY restated_at DESC LIMIT 100`]);
  if (t.quarantined) links.push(["Quarantined rows", `SELECT * FROM ${quote(`${t.name}__quarantine`)} LIMIT 100`]);
  return h("div", { class: "actions" }, links.map(([text, query]) => h("a", { class: "button plain", href: `#/sql/${encodeURIComponent(query)}` }, text)));
}

function sourcesView() {
  const list = h("div", {});
  const update = () => replace(list, listing([["Source"], ["Records", "number"], ["Dead", "number"], ["Event time has come to", "whole", "event time"], ["In the archive", "whole", "in the archive"]],
    model.status.sources.map((s) => [link("source", s.name), count(s.reference ? s.rows : s.records), s.reference ? "–" : count(s.dead),
      [s.reference ? `reference, version ${s.version}` : s.watermark_us ? utc(s.watermark_us) : "–", s.idle ? [" ", badge("idle", "info")] : null],
      s.reference ? "every version" : s.bronze_waiting ? `all but the last ${count(s.bronze_waiting)}` : "everything"])));
  return { title: "Sources", body: h("div", {}, h("h1", {}, "Sources"), panel(null, list)), update };
}

function sourceView(name) {
  const head = h("div", {}), facts = h("div", {}), graph = h("div", {}), dead = h("div", {}, h("p", { class: "quiet" }, "Reading…"));
  const content = browser(name);
  const update = () => {
    const s = source(name), now = model.now();
    if (!s) return replace(head, h("h1", {}, name), h("p", {}, "There is no such source."));
    replace(head, h("p", { class: "crumbs" }, h("a", { href: "#/sources" }, "Sources"), " / ", name), h("h1", {}, name, " ", s.reference ? badge("reference", "info") : s.idle ? badge("idle", "info") : null));
    const holds = (model.status.groups ?? []).filter((g) => g.held_by?.source === name).flatMap((g) => g.tables);
    replace(facts, h("dl", { class: "facts" }, (s.reference ? [["Rows", count(s.rows)], ["Version", `${s.version}: each reading that differed from the last`]]
      : [["Records", count(s.records)], ["Could not be read", `${count(s.dead)} (${share(s.dead, s.records)})`], ["Partitions", count(s.offsets.length)],
        ["Event time has come to", s.watermark_us ? `${utc(s.watermark_us)} (watermark, ${ago(s.watermark_us, now)})` : "no watermark"],
        ["Holds back", holds.length ? holds.join(", ") : "nobody"], ["Not in the archive yet", count(s.bronze_waiting)], s.log_bytes !== undefined && ["Log on disk", bytes(s.log_bytes)]].filter(Boolean)).map(([k, v]) => [h("dt", {}, k), h("dd", {}, v)])));
    const around = graphOf(`object:${name}`);
    replace(graph, lineage(around.nodes, around.edges, `object:${name}`));
  };
  const s = source(name);
  if (s && !s.reference && s.dead)
    sql(`SELECT regexp_replace(reason, '(''.*''|byte [0-9]+)', '…') AS reason, count(*) AS records, date_trunc('second', max(_arrival)) AS last FROM ${quote(`${name}__dead`)} GROUP BY 1 ORDER BY 2 DESC LIMIT 20`)
      .then((r) => replace(dead, listing([["Reason", "prose"], ["Records", "number"], ["Last", "whole", "last"]], r.rows.map(([reason, n, last]) => [reason, count(n), cell(last).replace("T", " ")])), h("div", { class: "actions" }, h("a", { class: "button plain", href: `#/sql/${encodeURIComponent(`SELECT reason, payload, _partition, _offset, _arrival FROM ${quote(`${name}__dead`)} ORDER BY _arrival DESC LIMIT 100`)}` }, "The records themselves"))))
      .catch((e) => replace(dead, h("div", { class: "error" }, e.message)));
  else replace(dead, h("p", { class: "quiet" }, "None."));
  return { title: name, update, body: h("div", {}, head, h("div", { class: "grid" }, panel("State", facts), panel("Records that could not be read", dead)), panel("Who reads it", graph), panel("Records in the archive", content.rows)) };
}

function sinkView(name) {
  const head = h("div", {}), facts = h("div", {}), graph = h("div", {});
  const update = () => {
    const s = sinks().find((x) => x.name === name);
    if (!s) return replace(head, h("h1", {}, name), h("p", {}, "There is no such sink."));
    const health = sinkHealth(s);
    replace(head, h("p", { class: "crumbs" }, h("a", { href: "#/" }, "Overview"), " / ", name), h("h1", {}, dot(health.state), name, " ", stateBadge(health.state)), h("p", { class: "quiet" }, `${s.connector}: ${health.why}.`));
    replace(facts, h("dl", { class: "facts" }, [["Takes the changes of", link("table", s.table)], ["Sent and confirmed", count(s.delivered)], ["Still to be sent", count(s.waiting)], ["Given up", count(s.dead)], ["Guarantee", s.guarantee],
      ["Began with", s.start === "snapshot" ? "all rows of the table" : "the changes from then on"], ["Kept until confirmed", bytes(s.spool_bytes)], s.tries ? ["Tries of what is first", count(s.tries)] : null, s.retry_us ? ["Next try", ago(s.retry_us, model.now())] : null,
      s.error ? ["What the last try said", s.error] : null].filter(Boolean).map(([k, v]) => [h("dt", {}, k), h("dd", {}, v)])));
    const around = graphOf(`object:${name}`);
    replace(graph, lineage(around.nodes, around.edges, `object:${name}`));
  };
  return { title: name, update, body: h("div", {}, head, panel("State", facts), panel("Where it comes from", graph)) };
}

function runTable(runs, named = true) {
  if (!runs.length) return h("p", { class: "quiet" }, "No run yet.");
  const longest = Math.max(...runs.map((r) => r.end - r.start), 1);
  const columns = [["Table"], ["When", "whole"], ["Took", "whole"], ["Rows", "number"], ["CPU", "number", "CPU"], ["Outcome", "whole"]];
  return listing(named ? columns : columns.slice(1), runs.map((r) => [link("table", r.table), time(r.start), [span(r.end - r.start), bar((r.end - r.start) / longest, r.error ? "bad" : null)], count(r.rows), span(r.cpu_us),
    [r.error ? badge("failed", "bad") : badge("done", "good"), r.error ? h("div", { class: "small bad" }, r.error) : null]].slice(named ? 0 : 1)));
}
function runsView() {
  const next = h("div", {}), list = h("div", {});
  const update = () => {
    const due = model.status.tables.filter((t) => t.next_run_us).sort((a, b) => a.next_run_us - b.next_run_us);
    replace(next, due.length ? h("dl", { class: "facts" }, due.map((t) => [h("dt", {}, link("table", t.name)), h("dd", {}, `${time(t.next_run_us)}, ${ago(t.next_run_us, model.now())}`)])) : h("p", { class: "quiet" }, "No table has a schedule."));
    replace(list, runTable([...history()].reverse().slice(0, 100)));
  };
  return { title: "Runs", body: h("div", {}, h("h1", {}, "Runs of scheduled tables"), panel("Next", next), panel("So far", list)), update };
}

const PHASES = { ingest: "reading sources", step: "keeping streams", bronze: "archiving", commit: "writing tables", checkpoint: "saving state", batch: "scheduled runs" };
function costView() {
  const body = h("div", {}), curve = h("div", {});
  let drawn = 0;
  const update = () => {
    if (Date.now() - drawn < 5000) return;
    drawn = Date.now();
    const s = model.status, tables = s.tables.map((t) => [t, cpu(t)]).sort((a, b) => b[1] - a[1]), phases = Object.entries(s.phase_cpu_us ?? {}).filter(([, v]) => v > 0), most = Math.max(1, ...tables.map(([, c]) => c)), all = phases.reduce((n, [, v]) => n + v, 0);
    replace(body, h("div", { class: "grid" }, panel("CPU time of each table", h("p", { class: "small quiet" }, "Since the start: its share of the steps, its runs, its commits."),
      listing([["Table"], ["May be", "whole"], ["CPU", "number", "CPU"]], tables.map(([t, c]) => [link("table", t.name), [asked(t), bar(c / most)], span(c)]))),
    panel("What the CPU time went into", phases.length ? chart({ title: "CPU seconds since the start, by what they went into", kind: "bar", unit: " s", height: 240, x: { name: "Work", values: phases.map((_, i) => i), labels: phases.map(([k]) => PHASES[k] ?? k) }, series: [{ name: "CPU seconds", values: phases.map(([, v]) => v / 1e6) }] }) : h("p", { class: "quiet" }, "Nothing yet."),
      h("p", { class: "small quiet" }, `${span(all)} of CPU since the start; at most ${bytes(s.peak_bytes)} of memory.`))));
  };
  const draw = () => {
    const points = [...(model.costs?.points ?? [])].sort((a, b) => b.freshness_us - a.freshness_us), labels = points.map((p) => words(p.freshness_us));
    if (!points.length) return replace(curve, h("p", { class: "quiet" }, "Run ", h("code", {}, "leat cost"), ": it plays your own recorded input at each freshness, from a day to a tenth of a second, and measures."));
    const names = Object.keys(points[0].tables);
    replace(curve, listing([["Freshness"], ["Kept by", "whole", "kept by"], ["CPU seconds", "whole", "CPU seconds"], ["Memory", "number"], ["Hours up", "number"], ["Machine", "whole", "machine"], ["A month", "whole", "a month"]],
      points.map((p) => [words(p.freshness_us), p.kept_by === "timer" ? "a timer: off in between" : "leat run", count(Math.round(p.cpu_s)), bytes(p.peak_bytes), p.hours_up.toFixed(1), p.machine ?? "none is large enough", money(p)]),
      `Every table at one freshness, for a day of ${count(Math.round(model.costs.records_a_day))} records; money for thirty days`),
    h("ul", {}, (model.costs.recommendation ?? []).map((text) => h("li", {}, text))),
    h("h3", {}, "CPU seconds a day of each table"),
    chart({ title: "CPU seconds a day of each table, by freshness", unit: " s", x: { name: "Freshness", values: points.map((_, i) => i), labels }, series: names.map((name) => ({ name, values: points.map((p) => p.tables[name]) })) }));
  };
  draw();
  get("v1/costs").then((costs) => { model.costs = costs; draw(); }).catch(() => {});
  return { title: "Cost", body: h("div", {}, h("h1", {}, "What it costs"), h("p", { class: "quiet" }, "Measured, on this machine."), body, panel("What another freshness would cost", curve)), update };
}

function sqlView(first) {
  const box = h("textarea", { id: "query", spellcheck: "false", "aria-label": "Query" }), out = h("div", {}, h("p", { class: "quiet" }, "Sources, tables, and beside them TABLE__late, TABLE__dead, SOURCE__dead. Read-only."));
  box.value = first || `SELECT * FROM ${quote(model.status.tables[0]?.name ?? "")} LIMIT 20`;
  const names = model.status.tables.map((t) => t.name).concat(model.status.sources.map((s) => s.name));
  const run = async () => {
    const began = performance.now();
    replace(out, h("p", { class: "quiet" }, "Running…"));
    try {
      const result = await sql(box.value), shown = { columns: result.columns, rows: result.rows.slice(0, 500) };
      let choice = { ...guess(result.columns, result.rows), kind: "bar" };
      const draw = h("div", {}), paint = () => replace(draw, pictureControls(result, choice, (c) => { choice = c; paint(); }), picture(result, { ...choice, title: "Chart of the result" }));
      replace(out, panel(null, grid(shown, { caption: `${plural(result.rows.length, "row")} in ${Math.round(performance.now() - began)} ms${result.rows.length > 500 ? "; the first 500 are shown" : ""}` })), choice.x >= 0 && result.rows.length > 1 ? panel("Chart", draw) : null);
      if (choice.x >= 0) paint();
      say(plural(result.rows.length, "row"));
    } catch (error) {
      replace(out, h("div", { class: "error", role: "alert" }, error.message));
    }
  };
  box.addEventListener("keydown", (e) => {
    if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) {
      e.preventDefault();
      run();
    }
  });
  if (first) run();
  return { title: "SQL", update: () => {}, body: h("div", {}, h("h1", {}, "Ask the tables"), h("p", { class: "quiet" }, "Read-only, over everything that is in the lake."), panel(null, box, h("div", { class: "actions" }, h("button", { type: "button", id: "run", onclick: run }, "Run"), h("span", { class: "quiet small" }, "or Ctrl+Enter"),
    h("button", { type: "button", class: "plain", onclick: () => download("v1/sql?format=csv", "result.csv", { method: "POST", headers: { "Content-Type": "text/plain" }, body: box.value }).catch((e) => replace(out, h("div", { class: "error" }, e.message))) }, "CSV"),
    h("label", {}, "Insert ", h("select", { id: "insert", onchange: (e) => { if (e.target.value) box.setRangeText(quote(e.target.value), box.selectionStart, box.selectionEnd, "end"); e.target.value = ""; box.focus(); } }, h("option", { value: "" }, "a name…"), names.map((n) => h("option", { value: n }, n)))))), out) };
}

// ---- routes and the live status ----

const ROUTES = [[/^#?\/?$/, overview], [/^#\/tables$/, tablesView], [/^#\/table\/(.+)$/, tableView], [/^#\/sources$/, sourcesView], [/^#\/source\/(.+)$/, sourceView], [/^#\/sink\/(.+)$/, sinkView], [/^#\/runs$/, runsView], [/^#\/cost$/, costView], [/^#\/sql(?:\/(.+))?$/, sqlView]];
let view = null;

function show(moved) {
  for (const [pattern, make] of ROUTES) {
    const match = pattern.exec(location.hash);
    if (!match) continue;
    view = make(match[1] === undefined ? undefined : decodeURIComponent(match[1]));
    break;
  }
  main.replaceChildren(view.body);
  view.update();
  document.title = `${view.title} · leat`;
  const section = location.hash.replace(/^#\/table\/.*/, "#/tables").replace(/^#\/source\/.*/, "#/sources").replace(/^(#\/sql).*/, "$1") || "#/";
  for (const a of document.querySelectorAll("nav a")) a.getAttribute("href") === section ? a.setAttribute("aria-current", "page") : a.removeAttribute("aria-current");
  if (moved) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
    say(view.title);
  }
}

let before = null;
function take(status) {
  const records = status.sources.reduce((n, s) => n + (s.records ?? 0), 0), at = performance.now();
  if (before && at - before.at > 700) model.rate = Math.max(0, ((records - before.records) * 1000) / (at - before.at));
  if (!before || at - before.at > 700) before = { records, at };
  const steps = new Map((model.status?.groups ?? []).map((g) => [g.freshness_us, g.steps]));
  for (const g of status.groups ?? []) g.moving = steps.has(g.freshness_us) && g.steps > steps.get(g.freshness_us);
  model.status = status;
  if (view) view.update();
}
function connection(live) {
  const el = document.getElementById("link");
  el.className = `link ${live ? "live" : "lost"}`;
  el.textContent = live ? "live" : "not connected";
}

async function start() {
  try {
    const [status, graph] = await Promise.all([get("v1/status"), get("v1/graph")]);
    model.graph = graph;
    model.costs = await get("v1/costs").catch(() => null);
    model.canAlter = "/v1/alter" in (await get("v1/openapi.json")).paths;
    take(status);
  } catch (error) {
    replace(main, h("div", { class: "error", role: "alert" }, `The status cannot be read: ${error.message}`), h("p", {}, "Trying again…"));
    setTimeout(start, 3000);
    return;
  }
  show(false);
  addEventListener("hashchange", () => show(true));
  const stop = new AbortController();
  addEventListener("pagehide", () => stop.abort());
  events("v1/status/events", { signal: stop.signal, onEvent: (e) => take(JSON.parse(e.data)), onState: connection });
  setInterval(() => view?.update(), 5000); // ages grow without events
}
start();
