// What the status says, put together for the views: one object a table, a source, a sink, with its health and the reason.
import { ago, count, plural, schedule, share, span, words } from "./format.js";

export const model = { status: null, graph: null, now: () => Date.now() * 1000 };
// The server's clock when it made the status: what waited then is judged by it, not by when it is looked at.
const then = () => model.status.now_us;

const worst = (...states) => ["bad", "warn", "good"].find((s) => states.includes(s)) ?? null;

// Groups: the tables of one freshness step together and are equally fresh.
const groupOf = (table) => model.status.groups?.find((g) => g.tables.includes(table.name)) ?? null;

// How old the table's content is: the wait of the oldest record it has not taken in yet. 0: it has all there is.
export function lag(table) {
  const g = groupOf(table);
  if (!g) return null;
  return g.waiting && g.waiting_since_us ? Math.max(0, then() - g.waiting_since_us) : 0;
}
export function attained(table) {
  const g = groupOf(table);
  if (!g) return null;
  const last = g.attained.at(-1);
  const recent = last && then() - last[0] < 30e6 ? last[1] : 0;
  return Math.max(recent, lag(table) > g.freshness_us ? lag(table) : 0);
}
export function isContinuous(table) {
  return table.freshness_us != null;
}
export function asked(table) {
  if (isContinuous(table)) return table.calendar ? `at most ${table.calendar} old` : `at most ${words(table.freshness_us)} old`;
  if (table.kept === "full") return "recomputed when its inputs change";
  return table.schedule ? `made anew ${schedule(table.schedule)}` : "made anew on schedule";
}
export function health(table) {
  if (table.suspended) return { state: "warn", why: "suspended: it is not kept up until somebody resumes it" };
  if (table.error) return { state: "bad", why: table.error };
  if (Object.values(table.balance ?? {}).some((b) => !b.exact)) return { state: "bad", why: "its row balance does not add up" };
  const check = model.status.checks?.find((c) => c.table === table.name && c.differing > 0);
  if (check) return { state: "bad", check: check.name, why: `${plural(check.differing, "row")} differ from what check ${check.name} compares with` };
  const drift = model.status.drift_watch?.tables?.[table.name];
  if (drift?.differing) return { state: "bad", why: `${plural(drift.differing, "row")} differ from its own query` };
  if (isContinuous(table)) {
    const age = attained(table);
    if (age > 3 * table.freshness_us + 1e6) return { state: "bad", why: `${span(age)} old, asked were ${words(table.freshness_us)}` };
    if (age > 1.1 * table.freshness_us + 5e4) return { state: "warn", why: `${span(age)} old, asked were ${words(table.freshness_us)}` };
    return { state: "good", why: lag(table) > 0 ? "taking in what has just arrived" : "has everything that has arrived" };
  }
  if (table.kept === "scheduled" && table.next_run_us && table.next_run_us < model.now() - 60e6) return { state: "warn", why: "its run is overdue" };
  if (!table.runs) return { state: null, why: "has not run yet" };
  return { state: "good", why: "its last run succeeded" };
}
export const totals = (table) =>
  Object.values(table.balance ?? {}).reduce((s, b) => ({ in: s.in + b.in, admitted: s.admitted + b.admitted, late: s.late + b.late, dead: s.dead + b.dead, stale: s.stale + (b.stale ?? 0) }), { in: 0, admitted: 0, late: 0, dead: 0, stale: 0 });

export const table = (name) => model.status?.tables.find((t) => t.name === name);
export const source = (name) => model.status?.sources.find((s) => s.name === name);
export const group = groupOf;
export const sinks = () => model.status?.sinks ?? [];

export function sinkHealth(sink) {
  if (sink.error) return { state: "bad", why: sink.error };
  const behind = sink.behind_since_us ? model.now() - sink.behind_since_us : 0;
  if (sink.dead) return { state: "warn", why: `${plural(sink.dead, "effect")} given up after all tries; see its dead letters` };
  if (behind > 60e6) return { state: "warn", why: `${span(behind)} behind, ${count(sink.waiting)} still to be sent` };
  return { state: "good", why: sink.waiting ? `${count(sink.waiting)} still to be sent` : "everything is sent" };
}

// What a person should know, worst first: [{state, text, href}]
export function alerts() {
  const kinds = { table: "table", sink: "sink", source: "source" };
  const out = (model.status.alerts ?? []).map((a) => ({ state: "bad", name: a.object, text: `${a.text.replace(new RegExp(`^${a.on} ${a.object.replace(/\W/g, "\\$&")}:? `), "")} (since ${ago(a.raised_us, then())})`, href: kinds[a.on] ? `#/${kinds[a.on]}/${encodeURIComponent(a.object)}` : "#/" }));
  const raised = new Set((model.status.alerts ?? []).map((a) => a.object)); // said already
  for (const t of model.status.tables) {
    if (raised.has(t.name)) continue;
    const h = health(t);
    if (raised.has(h.check)) continue;
    if (h.state === "bad" || h.state === "warn") out.push({ state: h.state, name: t.name, text: h.why, href: `#/table/${encodeURIComponent(t.name)}` });
  }
  for (const s of sinks()) {
    const h = sinkHealth(s);
    if (!raised.has(s.name) && h.state !== "good") out.push({ state: h.state, name: s.name, text: h.why, href: `#/sink/${encodeURIComponent(s.name)}` });
  }
  for (const s of model.status.sources) {
    const href = `#/source/${encodeURIComponent(s.name)}`;
    if (s.error) out.push({ state: "bad", name: s.name, text: s.error, href });
    if (s.dead && !raised.has(s.name)) out.push({ state: "info", name: s.name, text: `${plural(s.dead, "record")} (${share(s.dead, s.records)}) could not be read. They are kept, with the reason.`, href });
  }
  for (const t of model.status.tables) {
    const late = totals(t).late;
    if (late) out.push({ state: "info", name: t.name, text: `${plural(late, "record")} came too late for it. They are kept apart, and admitted by the daily restatement.`, href: `#/table/${encodeURIComponent(t.name)}` });
  }
  const rank = { bad: 0, warn: 1, info: 2 };
  return out.sort((a, b) => rank[a.state] - rank[b.state]);
}

// Nodes and edges for the lineage; only: around one object.
export function graphOf(only = null) {
  const kinds = { source: "source", reference: "reference", view: "view", table: "table", sink: "sink" };
  const nodes = [], edges = [];
  for (const n of model.graph?.nodes ?? []) {
    const id = `object:${n.name}`;
    const node = { id, name: n.name, kind: kinds[n.kind] ?? n.kind, what: n.kind, state: null, flow: false };
    if (n.kind === "table") {
      const t = table(n.name);
      if (t) Object.assign(node, { state: health(t).state, what: isContinuous(t) ? `${words(t.freshness_us)} · ${count(t.rows)} rows` : `${t.kept} · ${count(t.rows)} rows`, flow: isContinuous(t) && group(t)?.moving });
      node.href = `#/table/${encodeURIComponent(n.name)}`;
    } else if (n.kind === "source" || n.kind === "reference") {
      const s = source(n.name);
      node.kind = s?.reference ? "reference" : "source";
      node.what = s ? (s.reference ? `reference · ${count(s.rows)} rows` : `source · ${count(s.records)} records`) : "source";
      node.state = s?.error ? "bad" : s && (s.records || s.rows) ? "good" : null;
      node.flow = true;
      node.href = `#/source/${encodeURIComponent(n.name)}`;
    } else if (n.kind === "sink") {
      const s = sinks().find((x) => x.name === n.name);
      const h = s ? sinkHealth(s) : { state: null };
      Object.assign(node, { state: h.state, what: `sink · ${n.connector}${s ? ` · ${count(s.delivered)} sent` : ""}`, flow: true, href: `#/sink/${encodeURIComponent(n.name)}` });
    } else node.flow = true;
    nodes.push(node);
  }
  const known = new Map(nodes.map((n) => [n.name, n.id]));
  for (const e of model.graph?.edges ?? []) if (known.has(e.from) && known.has(e.to)) edges.push([known.get(e.from), known.get(e.to)]);
  if (!only) return { nodes, edges };
  const keep = new Set([only]);
  for (const forward of [true, false])
    for (let grown = true, from = new Set([only]); grown; ) {
      grown = false;
      for (const [a, b] of edges) {
        const [near, far] = forward ? [a, b] : [b, a];
        if (from.has(near) && !from.has(far)) {
          from.add(far);
          keep.add(far);
          grown = true;
        }
      }
    }
  return { nodes: nodes.filter((n) => keep.has(n.id)), edges: edges.filter(([a, b]) => keep.has(a) && keep.has(b)) };
}
