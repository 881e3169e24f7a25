import { call, encodeKey, problemBox } from "./api.js";
import { el, timeOf } from "./dom.js";

const FINAL = new Set(["delivered", "failed", "unknown", "expired", "cancelled"]);
const KEPT = 12;
const STORED = "aside.notifications";

/** Sends notifications to the chosen chat, and shows what became of those that this page sent. */
export class Panel {
  constructor(chosenKey) {
    this.chosenKey = chosenKey;
    this.form = document.getElementById("notify");
    this.answer = document.getElementById("notify-answer");
    this.list = document.getElementById("deliveries");
    this.lacksKey = false;
    this.sent = JSON.parse(sessionStorage.getItem(STORED) ?? "[]");
    this.form.addEventListener("submit", (event) => this.#submit(event));
    this.form.addEventListener("change", () => this.#explain());
    this.#explain();
    this.show();
  }

  /** Ask for the status of all that is not final yet. */
  async poll() {
    const open = this.sent.filter((one) => !one.final);
    if (!open.length) return;
    await Promise.all(open.map((one) => this.#ask(one)));
    this.#store();
    this.show();
  }

  /** Nothing of the service can be shown until the page is loaded again with a key. */
  askForKey(error) {
    if (!this.lacksKey) this.answer.replaceChildren(problemBox(error));
    this.lacksKey = true;
  }

  show() {
    const key = this.chosenKey();
    const rows = this.sent.filter((one) => one.key === key).map((one) => this.#row(one));
    this.list.replaceChildren(...(rows.length ? rows : [el("li", { class: "muted" }, "None sent to this chat yet.")]));
  }

  #explain() {
    const chosen = this.form.querySelector("[name=mode]:checked");
    const resume = chosen.value === "resume";
    document.getElementById("mode-explained").textContent = chosen.parentElement.title;
    this.form.querySelector(".hold").classList.toggle("off", !resume);
    this.form.elements.holdFor.disabled = !resume;
  }

  async #submit(event) {
    event.preventDefault();
    const key = this.chosenKey();
    const { text, title, mode, holdFor, urgent } = this.form.elements;
    const button = this.form.querySelector("button[type=submit]");
    const body = { to: { conversation: key }, text: text.value, mode: mode.value };
    if (title.value.trim()) body.title = title.value.trim();
    if (!holdFor.disabled && holdFor.value) body.holdFor = Number(holdFor.value);
    if (urgent.checked) body.urgent = true;
    button.disabled = true;
    try {
      const accepted = await call("POST", "/api/notify", body);
      this.answer.replaceChildren(el("p", { class: "accepted" }, `Accepted: ${accepted.recipients} recipient${accepted.recipients === 1 ? "" : "s"}, `, el("code", {}, accepted.id)));
      const label = body.title ? `${body.title}: ${body.text}` : body.text;
      this.sent.unshift({ id: accepted.id, key, text: label, mode: body.mode, status: accepted.status, at: new Date().toISOString(), final: false });
      this.sent.length = Math.min(this.sent.length, KEPT);
      this.#store();
      this.show();
      this.poll();
    } catch (error) {
      this.answer.replaceChildren(problemBox(error));
    } finally {
      button.disabled = false;
    }
  }

  async #ask(one) {
    try {
      const { deliveries = [] } = await call("GET", `/api/notifications/${encodeKey(one.id)}`);
      const delivery = deliveries.find((candidate) => candidate.conversation === one.key) ?? deliveries[0];
      if (!delivery) return;
      const { status, attempts, at, reason } = delivery;
      Object.assign(one, { status, attempts, reason, at: at ?? one.at, final: FINAL.has(status) });
    } catch (error) {
      if (error.status === 404) Object.assign(one, { status: "unknown", reason: "no longer on record", final: true });
    }
  }

  async #cancel(one) {
    try {
      await call("DELETE", `/api/notifications/${encodeKey(one.id)}`);
      await this.poll();
    } catch (error) {
      this.answer.replaceChildren(problemBox(error));
    }
  }

  #row(one) {
    const details = [one.mode, timeOf(one.at), one.attempts > 1 && `${one.attempts} attempts`, one.reason].filter(Boolean).join(" · ");
    return el("li", {},
      el("div", { class: "line" }, el("span", { class: "what" }, one.text), el("span", { class: `badge ${one.status}` }, one.status),
        !one.final && el("button", { type: "button", class: "small", "aria-label": `Cancel “${one.text}”`, onclick: () => this.#cancel(one) }, "Cancel")),
      el("small", { class: "muted" }, details));
  }

  #store() {
    sessionStorage.setItem(STORED, JSON.stringify(this.sent));
  }
}
