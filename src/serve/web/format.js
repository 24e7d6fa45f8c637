// How figures are said. Times in the status are microseconds since the epoch.
export const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;

export function span(us) {
  if (us == null) return "–";
  const s = us / 1e6;
  if (s < 0.95) return `${Math.max(0, Math.round(s * 1000))} ms`;
  if (s < 10) return `${s.toFixed(1).replace(/\.0$/, "")} s`;
  if (s < 100) return `${Math.round(s)} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 172800) return `${Math.round(s / 3600)} h`;
  return plural(Math.round(s / 86400), "day");
}
// As one would say it: "1 second", "5 minutes".
export function words(us) {
  const units = [["day", 86400e6], ["hour", 3600e6], ["minute", 60e6], ["second", 1e6], ["millisecond", 1e3]];
  for (const [word, size] of units) if (us >= size && us % size === 0) return plural(us / size, word);
  return span(us);
}
// "0 2 * * *" as people say it; others as they are written.
export function schedule(cron) {
  const [minute, hour, day, month, weekday] = cron.split(/\s+/);
  const at = /^\d+$/.test(minute) && /^\d+$/.test(hour) ? `${hour.padStart(2, "0")}:${minute.padStart(2, "0")}` : null;
  if (at && day === "*" && month === "*" && weekday === "*") return `daily at ${at}`;
  if (at && day === "*" && month === "*" && /^(mon|tue|wed|thu|fri|sat|sun)$/i.test(weekday)) return `${weekday}, ${at}`;
  if (at && /^\d+$/.test(day) && month === "*" && weekday === "*") return `on day ${day} of each month, ${at}`;
  if (/^\d+$/.test(minute) && hour === "*" && day === "*" && month === "*" && weekday === "*") return `hourly at :${minute.padStart(2, "0")}`;
  return `on schedule ${cron}`;
}
export const ago = (us, now) => (us == null ? "never" : us > now ? `in ${span(us - now)}` : `${span(now - us)} ago`);
export const count = (n) => (n == null ? "–" : Number(n).toLocaleString());
export function short(n) {
  const a = Math.abs(n);
  if (a >= 1e9) return `${(n / 1e9).toFixed(1)} G`;
  if (a >= 1e6) return `${(n / 1e6).toFixed(1)} M`;
  if (a >= 1e4) return `${(n / 1e3).toFixed(a >= 1e5 ? 0 : 1)} k`;
  return a && a < 1 ? String(Number(n.toPrecision(3))) : Number(n).toLocaleString(undefined, { maximumFractionDigits: 2 });
}
export function bytes(n) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let i = 0;
  for (; n >= 1000 && i < units.length - 1; i++) n /= 1000;
  return `${i ? n.toFixed(n < 10 ? 1 : 0) : n} ${units[i]}`;
}
export const share = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(part / whole < 0.1 ? 2 : 1)} %` : "0 %");
export function time(us) {
  if (us == null) return "–";
  const d = new Date(us / 1000), today = new Date().toDateString() === d.toDateString();
  return today ? d.toLocaleTimeString() : d.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}
// Event times are of the data, not of the reader's zone.
export const utc = (us) => new Date(us / 1000).toISOString().replace("T", " ").slice(0, 19);
// A cell of a table: what stands there.
export function cell(value) {
  if (value === null || value === undefined) return "NULL";
  if (typeof value === "object") return JSON.stringify(value);
  return String(value);
}
// The same as a column of that type shows it: a time with a blank, a DECIMAL with all its digits behind the point.
export function figure(value, type) {
  const digits = typeof value === "number" ? /^DECIMAL\(\d+, ?(\d+)\)/.exec(type)?.[1] : null;
  return digits ? value.toFixed(digits) : isTime(type) ? cell(value).replace("T", " ") : cell(value);
}
export const isNumeric = (type) => /^(U?(TINY|SMALL|BIG|HUGE)?INT|INTEGER|UINTEGER|DOUBLE|FLOAT|DECIMAL)/.test(type);
export const isTime = (type) => /^(TIMESTAMP|DATE)/.test(type);
// Seconds since the epoch of a DATE or TIMESTAMP as text; without a zone it is UTC.
export function seconds(text) {
  if (text == null) return null;
  let t = String(text).replace(" ", "T");
  if (/^\d{4}-\d\d-\d\d$/.test(t)) t += "T00:00:00";
  if (!/(Z|[-+]\d\d(:?\d\d)?)$/.test(t)) t += "Z";
  const ms = Date.parse(t.replace(/([-+]\d\d)$/, "$1:00"));
  return Number.isNaN(ms) ? null : ms / 1000;
}
