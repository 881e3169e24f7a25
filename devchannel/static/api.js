import { el } from "./dom.js";

/** An answer of the service that is no success, with what its problem document says. */
export class Problem extends Error {
  constructor(status, document) {
    super(document?.detail ?? document?.title ?? `The service answered ${status}.`);
    this.status = status;
    this.document = document;
  }
}

export async function call(method, path, body) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const content = await answer.json().catch(() => null);
  if (!answer.ok) throw new Problem(answer.status, content);
  return content;
}

export const encodeKey = (key) => encodeURIComponent(key);

/** A problem as the user should see it. */
export function problemBox(error) {
  const { title, detail, errors = [] } = error.document ?? {};
  return el("div", { class: "problem", role: "alert" },
    el("strong", {}, title ?? (error.status ? `Error ${error.status}` : "No answer")),
    el("p", {}, detail ?? error.message),
    errors.length > 0 && el("ul", {}, errors.map((one) => el("li", {}, el("code", {}, one.pointer ?? ""), ` ${one.detail ?? ""}`))));
}
