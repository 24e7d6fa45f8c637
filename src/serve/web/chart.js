// Charts, by uPlot: lines and bars, with the same figures as a table for those who do not see the picture.
import { h, replace } from "./dom.js";
import { short } from "./format.js";

const color = (name) => {
  const probe = h("i", { style: `color: var(${name})` });
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
};
const fade = (rgb, alpha) => rgb.replace(/^rgb\(/, "rgba(").replace(/\)$/, `, ${alpha})`);
const palette = () => ["--accent", "--good", "--warn", "--bad"].map(color).concat(["#8a63d2", "#c2577e", "#5b8a72", "#a07b4f"]);
const live = new Set();

// Times along the bottom, as the reader needs them: the day where days change, else the time of day. utc: of data; else of the reader's clock.
function clock(seconds, step, utc, first) {
  const zone = utc ? { timeZone: "UTC" } : {}, d = new Date(seconds * 1000);
  const day = d.toLocaleDateString(undefined, { ...zone, day: "numeric", month: "short", ...(step > 200 * 86400 ? { year: "numeric" } : {}) });
  if (step >= 86400) return day;
  const at = d.toLocaleTimeString(undefined, { ...zone, hour12: false, hour: "2-digit", minute: "2-digit", ...(step < 60 ? { second: "2-digit" } : {}) });
  return first || /^(00:00|24:00)(:00)?$/.test(at) ? `${at}\n${day}` : at;
}
const when = (v, x) => (x.utc === false ? new Date(v * 1000).toLocaleString() : new Date(v * 1000).toISOString().replace("T", " ").replace(/(:00)?\.000Z$|\.\d+Z$/, ""));

// x: {name, values, time: bool, utc: bool, labels: [text] for categories}; series: [{name, values}]; provisional: from this index on, rows may
// still change; marks: [{y}] drawn as dashed lines
export function chart({ x, series, kind = "line", height = 260, title, unit = "", provisional = null, marks = [] }) {
  const holder = h("div", { class: "chart", role: "img", "aria-label": title, style: `min-height: ${height}px` }), readout = h("p", { class: "readout", "aria-hidden": "true" });
  const state = { plot: null };
  const label = (i) => (x.labels ? x.labels[i] : x.time ? when(x.values[i], x) : x.values[i]);
  const read = (u) => {
    const i = u.cursor.idx;
    readout.textContent = i == null ? "" : `${label(i)}: ${series.map((s) => `${series.length > 1 ? `${s.name} ` : ""}${s.values[i] == null ? "–" : short(s.values[i]) + unit}`).join(" · ")}`;
  };
  const make = () => {
    state.plot?.destroy();
    const ink = color("--quiet"), grid = { stroke: fade(color("--line"), 0.8), width: 1 }, colors = palette();
    const bars = kind === "bar", n = x.values.length, font = "12px system-ui, sans-serif", longest = widest((x.labels ?? []).map((l) => clipped(l ?? "")), font);
    const turned = () => n * (longest + 12) > holder.clientWidth - 64 - longest / 2; // names would run into each other
    const bottom = x.labels ? { splits: (u) => pick(n, u.width), values: (u, at) => at.map((i) => clipped(x.labels[i] ?? "")), ...(turned() ? { rotate: -38, size: 34 + longest * 0.62 } : {}) }
      : x.time ? { space: 70, values: (u, at) => at.map((v, i) => clock(v, at.length > 1 ? at[1] - at[0] : 86400, x.utc !== false, i === 0)) } : {};
    const options = {
      width: Math.max(240, holder.clientWidth), height, padding: [12, x.labels ? Math.max(24, turned() ? longest * 0.8 : longest / 2 + 4) : 40, 0, 0], cursor: { y: false, points: { show: !bars } }, legend: { show: false },
      ...(x.time && x.utc !== false ? { tzDate: (ts) => uPlot.tzDate(new Date(ts * 1000), "Etc/UTC") } : {}),
      scales: { x: { time: !!x.time, range: bars || n < 2 ? barRange(x) : undefined }, y: { range: (u, low, high) => [Math.min(0, low ?? 0), Math.max(high ?? 0, ...marks.map((m) => m.y)) > 0 ? Math.max(high ?? 0, ...marks.map((m) => m.y)) * 1.08 : 1] } },
      axes: [
        { stroke: ink, grid: { show: false }, ticks: grid, font, ...bottom },
        { stroke: ink, grid, ticks: { show: false }, font, size: 64, values: (u, at) => at.map((v) => short(v) + unit) },
      ],
      series: [{}, ...series.map((s, i) => ({
        label: s.name, stroke: colors[i % colors.length], width: 2, spanGaps: true, points: { show: n < 40 && !bars, size: 6, fill: colors[i % colors.length] },
        fill: bars ? fade(colors[i % colors.length], 0.55) : series.length === 1 ? fade(colors[0], 0.1) : undefined, ...(bars ? { paths: uPlot.paths.bars({ size: [0.75, 60] }) } : {}),
      }))],
      hooks: { setCursor: [read], drawClear: [(u) => shade(u, x, provisional, fade(color("--warn"), 0.14))], draw: [(u) => marks.forEach((m) => line(u, m, color("--warn")))] },
    };
    state.plot = new uPlot(options, [x.values, ...series.map((s) => s.values)], holder);
    replace(key, series.length > 1 ? series.map((s, i) => h("li", { style: `--swatch: ${colors[i % colors.length]}` }, s.name)) : []);
  };
  const key = h("ul", { class: "key" });
  const observer = new ResizeObserver(() => {
    if (!holder.isConnected) return;
    if (!state.plot) make();
    else state.plot.setSize({ width: Math.max(240, holder.clientWidth), height });
  });
  observer.observe(holder);
  live.add({ holder, make });
  const table = h("details", {}, h("summary", {}, "The figures as a table"), h("div", { class: "scroll" }, h("table", { class: "data" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, x.name ?? ""), series.map((s) => h("th", { scope: "col", class: "number" }, s.name)))),
    h("tbody", {}, x.values.slice(-200).map((v, i) => {
      const at = Math.max(0, x.values.length - 200) + i;
      return h("tr", {}, h("th", { scope: "row" }, label(at)),
        series.map((s) => h("td", { class: "number" }, s.values[at] == null ? "–" : Number(s.values[at]).toLocaleString() + unit)));
    })))));
  return h("figure", { style: "margin:0" }, holder, key, readout, table);
}
const clipped = (text) => (text.length > 18 ? `${text.slice(0, 17)}…` : text);
function widest(texts, font) {
  const context = document.createElement("canvas").getContext("2d");
  context.font = font;
  return Math.max(0, ...texts.map((text) => context.measureText(text).width));
}
function barRange(x) {
  const n = x.values.length, step = n > 1 ? (x.values[n - 1] - x.values[0]) / (n - 1) : x.time ? 86400 : 1;
  return () => [x.values[0] - step * 0.6, x.values[n - 1] + step * 0.6];
}
function pick(n, width) {
  const step = Math.ceil((n * 26) / Math.max(200, width));
  return Array.from({ length: n }, (_, i) => i).filter((i) => i % step === 0);
}
function shade(u, x, from, fill) {
  if (from === null || from >= x.values.length) return;
  const n = x.values.length, step = n > 1 ? (x.values[n - 1] - x.values[0]) / (n - 1) : 0;
  const left = Math.max(u.bbox.left, u.valToPos(x.values[from] - step / 2, "x", true));
  u.ctx.save();
  u.ctx.fillStyle = fill;
  u.ctx.fillRect(left, u.bbox.top, u.bbox.left + u.bbox.width - left, u.bbox.height);
  u.ctx.restore();
}
function line(u, mark, stroke) {
  const y = u.valToPos(mark.y, "y", true);
  if (y < u.bbox.top || y > u.bbox.top + u.bbox.height) return;
  u.ctx.save();
  u.ctx.strokeStyle = stroke;
  u.ctx.lineWidth = 1.5 * devicePixelRatio;
  u.ctx.setLineDash([6, 5]);
  u.ctx.beginPath();
  u.ctx.moveTo(u.bbox.left, y);
  u.ctx.lineTo(u.bbox.left + u.bbox.width, y);
  u.ctx.stroke();
  u.ctx.restore();
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const c of live) c.holder.isConnected ? c.make() : live.delete(c);
});
