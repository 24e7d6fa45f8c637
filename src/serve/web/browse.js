// Rows of a table or of a query: pages, a chart, downloads.
import { name as quote, request, sql } from "./api.js";
import { chart } from "./chart.js";
import { h, replace, say } from "./dom.js";
import { cell, count, figure, isNumeric, isTime, plural, seconds, words } from "./format.js";

const ROWS = -2; // as a figure: how many rows
const PAGE = 50, POINTS = 400, SERIES = 6;

// rows of {columns, rows}; final(row): false where the row may still change
export function grid(result, { caption = null, sort = null, onSort = null, final = null } = {}) {
  const numeric = result.columns.map((c) => isNumeric(c.type));
  const arrow = (c) => (sort?.column === c.name ? (sort.down ? " ▼" : " ▲") : "");
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption ?? "Rows" }, h("table", { class: "data" }, caption ? h("caption", {}, caption) : null,
    h("thead", {}, h("tr", {}, final ? h("th", { scope: "col" }, "State") : null, result.columns.map((c, i) =>
      h("th", { scope: "col", class: numeric[i] ? "number" : null, title: c.type, "aria-sort": sort?.column === c.name ? (sort.down ? "descending" : "ascending") : null },
        onSort ? h("button", { type: "button", onclick: () => onSort(c.name) }, c.name + arrow(c)) : c.name)))),
    h("tbody", {}, result.rows.map((row) => h("tr", { class: final && !final(row) ? "provisional" : null },
      final ? h("td", {}, final(row) ? h("span", { class: "badge good" }, "final") : h("span", { class: "badge warn" }, "provisional")) : null,
      row.map((v, i) => h("td", { class: `${numeric[i] ? "number" : ""}${v === null ? " null" : ""}`.trim() || null, title: String(cell(v)).length > 40 ? cell(v) : null },
        figure(v, result.columns[i].type))))))));
}

// Which columns make a picture: something along the bottom (a time before a name), a number, and perhaps a few lines.
export function guess(columns, rows) {
  const many = (i) => new Set(rows.map((r) => r[i])).size > 1;
  const time = columns.findIndex((c, i) => isTime(c.type) && many(i)), numbers = columns.flatMap((c, i) => (isNumeric(c.type) && !/(^|_)id$/.test(c.name) ? [i] : []));
  const few = columns.findIndex((c, i) => c.type === "VARCHAR" && new Set(rows.map((r) => r[i])).size <= 12);
  const text = columns.findIndex((c) => c.type === "VARCHAR");
  const money = numbers.find((i) => /^DECIMAL/.test(columns[i].type));
  return { x: time >= 0 ? time : text, y: money ?? numbers[0] ?? ROWS, by: time >= 0 && few >= 0 ? few : -1 };
}

// Times closer together than a chart can show are put into steps of a length that people know.
function stepOf(keys) {
  const wide = (keys.at(-1) - keys[0]) / 80;
  return [1, 5, 10, 30, 60, 300, 600, 1800, 3600, 10800, 21600, 86400, 604800].find((s) => s >= wide) ?? 2592000;
}
export function picture(result, { x, y, by, kind, title, final, step = null }) {
  const { columns, rows } = result, figure = y === ROWS ? "rows" : columns[y]?.name;
  if (x < 0 || y === -1 || !rows.length) return h("p", { class: "quiet" }, "No figure to draw: a chart needs a time or a name to go along.");
  const timed = isTime(columns[x].type);
  let value = (row) => (timed ? seconds(row[x]) : cell(row[x]));
  let keys = [...new Set(rows.map(value))].filter((v) => v !== null);
  if (timed) keys.sort((a, b) => a - b);
  if (timed && (keys.length > POINTS || (y === ROWS && keys.length > 60))) {
    const exact = value;
    step = stepOf(keys);
    value = (row) => { const t = exact(row); return t === null ? null : Math.floor(t / step) * step; };
    keys = [...new Set(rows.map(value))].filter((v) => v !== null).sort((a, b) => a - b);
  }
  if (step && keys.length) keys = Array.from({ length: Math.min(5000, Math.round((keys.at(-1) - keys[0]) / step) + 1) }, (_, i) => keys[0] + i * step); // steps with nothing are nought
  const shown = keys.slice(timed ? -POINTS : 0, timed ? undefined : 60), place = new Map(shown.map((k, i) => [k, i]));
  const sums = new Map(), open = new Set();
  for (const row of rows) {
    const at = place.get(value(row)), series = by >= 0 ? cell(row[by]) : figure;
    if (at === undefined || (y >= 0 && row[y] === null)) continue;
    if (!sums.has(series)) sums.set(series, shown.map(() => (step ? 0 : null)));
    sums.get(series)[at] = (sums.get(series)[at] ?? 0) + (y === ROWS ? 1 : Number(row[y]));
    if (final && !final(row)) open.add(at);
  }
  const weight = (values) => values.reduce((s, v) => s + Math.abs(v ?? 0), 0);
  let series = [...sums].map(([name, values]) => ({ name, values })).sort((a, b) => weight(b.values) - weight(a.values));
  if (series.length > SERIES) {
    const rest = series.slice(SERIES - 1), all = shown.map((_, i) => rest.reduce((s, r) => (r.values[i] === null ? s : (s ?? 0) + r.values[i]), null));
    series = [...series.slice(0, SERIES - 1), { name: `${rest.length} others`, values: all }];
  }
  if (kind === "bar" && series.length > 1) { // one bar: the sum
    series = [{ name: figure, values: shown.map((_, i) => series.reduce((s, r) => (r.values[i] === null ? s : (s ?? 0) + r.values[i]), null)) }];
  }
  const provisional = open.size ? Math.min(...open) : null;
  return h("div", {},
    chart({ title, kind, series, provisional, x: { name: columns[x].name, time: timed, values: timed ? shown : shown.map((_, i) => i), labels: timed ? null : shown } }),
    step ? h("p", { class: "quiet small" }, `Added up over ${words(step * 1e6)} each.`) : null,
    provisional !== null ? h("ul", { class: "key" }, h("li", { style: "--swatch: var(--warn-soft)" }, "provisional: these may still change"), h("li", { style: "--swatch: var(--panel)" }, "final")) : null,
    keys.length > shown.length ? h("p", { class: "quiet small" }, `${timed ? "The last" : "The first"} ${shown.length} of ${keys.length} are shown.`) : null);
}

export function pictureControls(result, choice, onChange) {
  const option = (i, name, chosen) => h("option", { value: i, selected: i === chosen }, name);
  const numbers = result.columns.map((c, i) => [c, i]).filter(([c]) => isNumeric(c.type)), all = result.columns.map((c, i) => [c, i]);
  const pick = (label, key, list, none) => h("label", {}, `${label} `, h("select", { id: `pick-${key}`, onchange: (e) => onChange({ ...choice, [key]: Number(e.target.value) }) },
    none ? option(-1, none, choice[key]) : null, list.map(([c, i]) => option(i, c.name, choice[key]))));
  return h("div", { class: "bar" }, pick("Figure", "y", [[{ name: "number of rows" }, ROWS], ...numbers]), pick("along", "x", all), pick("for each", "by", all, "all together"),
    h("span", { class: "end" }, ["line", "bar"].map((kind) => h("button", { id: `kind-${kind}`, type: "button", class: "plain", "aria-pressed": String(choice.kind === kind), onclick: () => onChange({ ...choice, kind }) }, kind === "line" ? "Line" : "Bars"))));
}

export async function download(path, file, options) {
  const blob = await (await request(path, options)).blob();
  const link = h("a", { href: URL.createObjectURL(blob), download: file });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// A browser of one relation: pages, sorting, filter, chart, downloads.
export function browser(relation, { final = () => null } = {}) {
  const rows = h("div", {}, h("p", { class: "quiet" }, "Reading…")), draw = h("div", {}), state = { page: 0, sort: null, where: "", total: null };
  const filter = h("input", { type: "text", id: "filter", placeholder: "status = 'paid' AND amount > 100", "aria-label": "Condition, in SQL", size: 32, spellcheck: "false" });
  const condition = () => (state.where ? ` WHERE ${state.where}` : "");
  let choice = null;
  const fail = (error) => replace(rows, h("div", { class: "error", role: "alert" }, error.message));
  async function show() {
    const order = state.sort ? ` ORDER BY ${quote(state.sort.column)} ${state.sort.down ? "DESC" : "ASC"}, ALL`.replace(", ALL", "") : "";
    try {
      const [page, total] = await Promise.all([sql(`SELECT * FROM ${quote(relation)}${condition()}${order} LIMIT ${PAGE} OFFSET ${state.page * PAGE}`),
        state.total === null ? sql(`SELECT count(*) FROM ${quote(relation)}${condition()}`) : null]);
      if (total) state.total = Number(total.rows[0][0]);
      const pages = Math.max(1, Math.ceil(state.total / PAGE)), go = (to) => () => { state.page = to; show(); };
      replace(rows, grid(page, { caption: `${plural(state.total, "row").replace(/^\d+/, count)}${state.where ? " that fit" : ""}`, sort: state.sort, final: final(page.columns),
        onSort: (column) => { state.sort = { column, down: state.sort?.column === column && !state.sort.down }; state.page = 0; show(); } }),
        pages > 1 ? h("div", { class: "bar" }, h("button", { id: "page-first", type: "button", class: "plain", disabled: state.page === 0, onclick: go(0) }, "First"),
          h("button", { id: "page-back", type: "button", class: "plain", disabled: state.page === 0, onclick: go(state.page - 1) }, "Back"),
          h("span", { class: "quiet" }, `Page ${count(state.page + 1)} of ${count(pages)}`),
          h("button", { id: "page-next", type: "button", class: "plain", disabled: state.page + 1 >= pages, onclick: go(state.page + 1) }, "Next"),
          h("button", { id: "page-last", type: "button", class: "plain", disabled: state.page + 1 >= pages, onclick: go(pages - 1) }, "Last")) : null);
      say(`${state.total} rows`);
    } catch (error) {
      fail(error);
    }
  }
  // What the chart shows is added up by the server over all rows: per step of time, or the largest names.
  async function paint(sample) {
    const { columns } = sample, x = columns[choice.x], by = choice.by >= 0 ? columns[choice.by] : null;
    if (!x) return replace(draw, picture(sample, { x: -1, y: -1, by: -1 }));
    const figure = choice.y === ROWS ? "count(*)" : `sum(${quote(columns[choice.y].name)})`, label = choice.y === ROWS ? "rows" : columns[choice.y].name;
    let along = quote(x.name), step = null;
    if (isTime(x.type)) {
      const { rows: [[low, high, distinct]] } = await sql(`SELECT min(${along}), max(${along}), count(DISTINCT ${along}) FROM ${quote(relation)}${condition()}`);
      step = Number(distinct) > (choice.y === ROWS ? 60 : POINTS) ? stepOf([seconds(low), seconds(high)]) : null;
      if (step) along = `time_bucket(INTERVAL '${step} seconds', ${along}::TIMESTAMP)`;
    }
    const result = await sql(`SELECT ${along} AS ${quote(x.name)}${by ? `, ${quote(by.name)}` : ""}, ${figure} AS ${quote(`${label} `)} FROM ${quote(relation)}${condition()} GROUP BY ALL ORDER BY ${step || isTime(x.type) ? "1" : `${by ? 3 : 2} DESC`} LIMIT 20000`);
    result.columns.at(-1).name = label;
    replace(draw, pictureControls(sample, choice, (next) => { choice = next; paint(sample).catch(failed); }),
      picture(result, { x: 0, y: by ? 2 : 1, by: by ? 1 : -1, kind: choice.kind, step, final: final(result.columns), title: `Chart of ${relation}: ${label} along ${x.name}${by ? ` for each ${by.name}` : ""}` }));
  }
  const failed = (error) => replace(draw, h("div", { class: "error" }, error.message));
  async function redraw() {
    try {
      const sample = await sql(`SELECT * FROM ${quote(relation)}${condition()} LIMIT 2000`);
      if (!choice) {
        choice = guess(sample.columns, sample.rows);
        choice.kind = choice.x >= 0 && isTime(sample.columns[choice.x].type) ? "line" : "bar";
      }
      await paint(sample);
    } catch (error) {
      failed(error);
    }
  }
  const form = h("form", { class: "bar", onsubmit: (e) => { e.preventDefault(); state.where = filter.value.trim(); state.page = 0; state.total = null; show(); redraw(); } },
    h("label", { for: "filter" }, "Only rows where"), filter, h("button", { type: "submit", class: "plain" }, "Filter"),
    h("span", { class: "end" }, h("button", { type: "button", class: "plain", id: "again", onclick: () => { state.total = null; show(); redraw(); } }, "Read again"), ["csv", "json", "parquet"].map((format) => h("button", { type: "button", class: "plain", onclick: () =>
      download(`v1/sql?format=${format === "json" ? "ndjson" : format}`, `${relation}.${format}`, { method: "POST", headers: { "Content-Type": "text/plain" }, body: `SELECT * FROM ${quote(relation)}${condition()}` }).catch(fail) }, format.toUpperCase()), )));
  show();
  redraw();
  return { chart: draw, rows: h("div", {}, form, rows) };
}
