// h("a", {href: "#/"}, "text", child): an element. Text is always text: nothing that comes from data is read as HTML.
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(3).filter((c) => c !== null && c !== undefined && c !== false));
  return element;
}
// Keeps the focus where it was when a part of the page is made anew, by the element's id or link.
export function replace(parent, ...children) {
  const active = parent.contains(document.activeElement) ? document.activeElement : null;
  const mark = active && (active.id ? `#${CSS.escape(active.id)}` : active.getAttribute("href") ? `[href="${CSS.escape(active.getAttribute("href"))}"]` : null);
  parent.replaceChildren(...children.flat(3).filter(Boolean));
  if (mark) parent.querySelector(mark)?.focus({ preventScroll: true });
}
export function say(text) {
  document.getElementById("say").textContent = text;
}
