// The server's routes. A token, where one is needed, stays in this tab (sessionStorage).
const TOKEN = "leat-token";
export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}
export const token = () => sessionStorage.getItem(TOKEN);

async function askForToken() {
  const dialog = document.getElementById("token");
  if (!dialog.open) dialog.showModal();
  await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
  sessionStorage.setItem(TOKEN, dialog.querySelector("input").value);
  dialog.querySelector("input").value = "";
}
async function problem(response) {
  const text = await response.text();
  let message = text;
  try {
    message = JSON.parse(text).error.message;
  } catch { /* not JSON: the text itself */ }
  return new Problem(response.status, message || `${response.status} ${response.statusText}`);
}
export async function request(path, options = {}) {
  for (;;) {
    const headers = { ...options.headers };
    if (token()) headers.Authorization = `Bearer ${token()}`;
    const response = await fetch(path, { ...options, headers });
    if (response.status === 401 && !options.quiet) {
      await askForToken();
      continue;
    }
    if (!response.ok) throw await problem(response);
    return response;
  }
}
export const get = async (path, options) => (await request(path, options)).json();
// {columns: [{name, type}], rows: [[...], ...]}
export const sql = async (text, options = {}) => (await request("v1/sql", { method: "POST", body: text, headers: { "Content-Type": "text/plain" }, ...options })).json();
export const name = (text) => `"${String(text).replaceAll('"', '""')}"`;

// Server-Sent Events by fetch, since EventSource cannot send a token. Comes back by itself, and says so.
export async function events(path, { onEvent, onState, signal }) {
  let last = null, wait = 500;
  while (!signal.aborted) {
    try {
      const response = await request(path, { signal, headers: last ? { "Last-Event-ID": last } : {} });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      onState(true);
      wait = 500;
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        rest += value;
        const parts = rest.split(/\r?\n\r?\n/);
        rest = parts.pop();
        for (const part of parts) {
          const event = { type: "message", data: [] };
          for (const line of part.split(/\r?\n/)) {
            const [, field, text] = /^([a-z]*):? ?(.*)$/.exec(line) ?? [];
            if (field === "data") event.data.push(text);
            else if (field === "event") event.type = text;
            else if (field === "id") last = event.id = text;
          }
          if (event.data.length) onEvent({ ...event, data: event.data.join("\n") });
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 410) last = null;
    }
    onState(false);
    await new Promise((done) => setTimeout(done, wait));
    wait = Math.min(wait * 2, 15000);
  }
}
