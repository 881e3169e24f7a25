/** Builds elements. Text becomes text nodes, so nothing that a bot or a user says is ever read as HTML. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name in element && !name.startsWith("aria")) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** The objects of a list that somebody else wrote: it may be no list, and hold anything. */
export function objects(list) {
  return Array.isArray(list) ? list.filter((item) => item !== null && typeof item === "object") : [];
}

/** What somebody else wrote where a text belongs. */
export function text(value) {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean" ? String(value) : "";
}

/** The URL if it may be opened from a message, else null. */
export function safeLink(url, protocols = ["http:", "https:"]) {
  try {
    const parsed = new URL(url);
    return protocols.includes(parsed.protocol) ? parsed.href : null;
  } catch {
    return null;
  }
}

export function link(url, ...children) {
  return el("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, ...children);
}

/** The URL if it may be shown as an image, else null. */
export function safeImage(url) {
  if (typeof url !== "string") return null;
  return /^data:image\/(png|jpeg|gif|webp|svg\+xml);base64,/i.test(url) ? url : safeLink(url);
}

export function timeOf(iso) {
  const time = new Date(iso);
  return Number.isNaN(time.getTime()) ? "" : time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}
