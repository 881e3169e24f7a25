import { el } from "./dom.js";

/** An answer of the service that is no success, with what its problem document says. */
export class Problem extends Error {
  constructor(status, document) {
    super(document?.detail ?? document?.title ?? `The service answered ${status}.`);
    this.status = status;
    this.document = document;
  }
}

const KEY = "aside.key";

/** Calls the API, with the key that was entered in this tab if the service asks for one. */
export async function call(method, path, body) {
  const headers = { Accept: "application/json" };
  const key = sessionStorage.getItem(KEY);
  if (key) headers["X-API-Key"] = key;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const content = await answer.json().catch(() => null);
  if (!answer.ok) throw new Problem(answer.status, content);
  return content;
}

export const encodeKey = (key) => encodeURIComponent(key);

function keyEntry() {
  const input = el("input", { type: "password", required: true, autocomplete: "off", "aria-label": "API key" });
  const keep = (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEY, input.value.trim());
    location.reload();
  };
  return el("form", { class: "key-entry", onsubmit: keep }, input, el("button", { type: "submit" }, "Use this key"));
}

/** A problem as the user should see it; where a key is missing, with a place for it. */
export function problemBox(error) {
  const { title, detail, errors = [] } = error.document ?? {};
  return el("div", { class: "problem", role: "alert" },
    el("strong", {}, title ?? (error.status ? `Error ${error.status}` : "No answer")),
    el("p", {}, detail ?? error.message),
    errors.length > 0 && el("ul", {}, errors.map((one) => el("li", {}, el("code", {}, one.pointer ?? ""), ` ${one.detail ?? ""}`))),
    error.status === 401 && keyEntry());
}
