// What reads what, from left to right, drawn in layers.
import { h, svg } from "./dom.js";

const WIDTH = 196, HEIGHT = 54, GAP_X = 64, GAP_Y = 18, PAD = 6;

function depths(nodes, edges) {
  const depth = new Map(nodes.map((n) => [n.id, 0]));
  for (let pass = 0; pass < nodes.length; pass++) {
    let moved = false;
    for (const [from, to] of edges)
      if (depth.get(to) < depth.get(from) + 1) {
        depth.set(to, depth.get(from) + 1);
        moved = true;
      }
    if (!moved) break;
  }
  return depth;
}
// Layers of boxes; a line over several layers holds a place in each of those between, so that it passes no box.
function layers(nodes, edges) {
  const depth = depths(nodes, edges), out = [], put = (n, at) => (out[at] ??= []).push(n);
  for (const n of nodes) put(n, depth.get(n.id));
  const steps = [], paths = edges.map(([from, to]) => {
    const path = [from];
    for (let at = depth.get(from) + 1; at < depth.get(to); at++) {
      const id = `${from}>${to}@${at}`;
      put({ id, bend: true }, at);
      path.push(id);
    }
    path.push(to);
    for (let i = 1; i < path.length; i++) steps.push([path[i - 1], path[i]]);
    return path;
  });
  return { all: Array.from(out, (layer) => layer ?? []), steps, paths };
}
const tall = (n) => (n.bend ? 14 : HEIGHT);
// Each near the middle of what it is joined to: some sweeps of the barycentre rule.
function order(all, steps) {
  const place = new Map();
  const number = () => all.forEach((layer) => layer.forEach((n, i) => place.set(n.id, i - (layer.length - 1) / 2)));
  number();
  for (let sweep = 0; sweep < 10; sweep++)
    for (const layer of sweep % 2 ? [...all].reverse() : all) {
      const wish = (n) => {
        const near = steps.flatMap(([a, b]) => (a === n.id ? [place.get(b)] : b === n.id ? [place.get(a)] : []));
        return near.length ? near.reduce((s, v) => s + v, 0) / near.length : place.get(n.id);
      };
      const wishes = new Map(layer.map((n) => [n.id, wish(n)]));
      layer.sort((a, b) => wishes.get(a.id) - wishes.get(b.id));
      number();
    }
}
const clip = (text, n) => (text.length > n ? `${text.slice(0, n - 1)}…` : text);

// nodes: [{id, name, kind, what, state: good|warn|bad|null, href, flow: bool}], edges: [[from, to]]; here: id of the node in view
export function lineage(nodes, edges, here = null) {
  const { all, steps, paths } = layers(nodes, edges);
  order(all, steps);
  const room = (layer) => layer.reduce((s, n) => s + tall(n) + GAP_Y, -GAP_Y), height = Math.max(HEIGHT, ...all.map(room)) + 2 * PAD;
  const at = new Map();
  all.forEach((layer, column) => {
    let y = (height - room(layer)) / 2;
    for (const n of layer) {
      at.set(n.id, { x: PAD + column * (WIDTH + GAP_X), y, middle: y + tall(n) / 2 });
      y += tall(n) + GAP_Y;
    }
  });
  const byId = new Map(nodes.map((n) => [n.id, n]));
  const width = all.length * (WIDTH + GAP_X) - GAP_X + 2 * PAD, bend = GAP_X * 0.6;
  const lines = paths.map((path) => {
    const [a, b] = [path[0], path.at(-1)], near = here && (a === here || b === here);
    let d = `M${at.get(a).x + WIDTH} ${at.get(a).middle}`;
    for (let i = 1; i < path.length; i++) {
      const from = at.get(path[i - 1]), to = at.get(path[i]), x = from.x + WIDTH;
      d += `C${x + bend} ${from.middle} ${to.x - bend} ${to.middle} ${to.x} ${to.middle}`;
      if (i + 1 < path.length) d += `H${to.x + WIDTH}`;
    }
    return svg("path", { class: `edge${near ? " near" : ""}${byId.get(a).flow && byId.get(b).flow ? " flow" : ""}`, d });
  });
  const boxes = nodes.map((n) => {
    const p = at.get(n.id), inputs = edges.filter(([, b]) => b === n.id).map(([a]) => byId.get(a).name);
    const label = `${n.kind} ${n.name}: ${n.what}${inputs.length ? `, reads ${inputs.join(", ")}` : ""}`;
    return svg("a", { href: n.href ?? null, class: `${n.kind}${n.id === here ? " here" : ""}`, transform: `translate(${p.x} ${p.y})`, "aria-label": label, role: n.href ? null : "img" },
      svg("title", {}, label), svg("rect", { width: WIDTH, height: HEIGHT, rx: 9 }), svg("circle", { cx: 16, cy: 21, r: 5, class: n.state ?? "" }),
      svg("text", { x: 29, y: 25 }, clip(n.name, 21)), svg("text", { x: 16, y: 43, class: "what" }, clip(n.what, 31)));
  });
  return h("div", { class: "lineage", tabindex: 0, role: "group", "aria-label": "Lineage: what reads what, from left to right" },
    svg("svg", { width, height, viewBox: `0 0 ${width} ${height}` }, lines, boxes));
}
