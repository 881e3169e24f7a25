import { call, encodeKey } from "./api.js";
import { el, timeOf } from "./dom.js";

const ENDED = new Set(["done", "failed", "cancelled"]);

/** Shows what the bot knows of the chosen chat, and its jobs. */
export class Knowledge {
  constructor() {
    this.facts = document.getElementById("knows");
    this.jobs = document.getElementById("jobs");
    this.shown = "";
  }

  /** The conversation as the service answers it; null if it is not known yet. */
  async conversation(key) {
    try {
      return await call("GET", `/api/conversations/${encodeKey(key)}`);
    } catch (error) {
      if (error.status === 404) return null;
      throw error;
    }
  }

  async jobsOf(key) {
    try {
      const answer = await call("GET", `/api/jobs?conversation=${encodeKey(key)}`);
      return Array.isArray(answer) ? answer : (answer.jobs ?? answer.items ?? []);
    } catch (error) {
      if (error.status === 404) return [];
      throw error;
    }
  }

  /** Draws only what changed, so that focus and selection stay. */
  show(conversation, jobs) {
    const now = JSON.stringify([conversation, jobs]);
    if (now === this.shown) return;
    this.shown = now;
    this.facts.replaceChildren(...(conversation ? facts(conversation) : [el("dd", { class: "muted" }, "Nothing yet: the bot has not met this user.")]));
    const focused = this.jobs.contains(document.activeElement) ? document.activeElement.dataset.job : null;
    const rows = jobs.map((job) => jobRow(job));
    this.jobs.replaceChildren(...(rows.length ? rows : [el("li", { class: "muted" }, "None. Try “compute pi 10000”.")]));
    if (focused) this.jobs.querySelector(`[data-job="${CSS.escape(focused)}"]`)?.focus();
  }

  showUnreachable() {
    this.shown = "";
    this.facts.replaceChildren(el("dd", { class: "muted" }, "The service does not answer. Trying again…"));
  }
}

function facts(conversation) {
  const { phase, dialogs = [], inbox, mailbox, reachability, lastSeen, timezone, locale, user } = conversation;
  const fact = (name, ...value) => [el("dt", {}, name), el("dd", {}, ...value.flat().filter(Boolean))];
  const number = (value) => String(Array.isArray(value) ? value.length : (value ?? 0));
  return [
    ...fact("Phase", el("span", { class: `badge ${phase ?? ""}` }, phase ?? "unknown")),
    ...fact("Dialogs", dialogs.length ? dialogs.map((dialog, index) => [index ? " › " : "", el("code", {}, typeof dialog === "string" ? dialog : dialog.id)]).flat() : "none"),
    ...fact("Waiting", `${number(inbox)} in the inbox, ${number(mailbox)} in the mailbox`),
    ...fact("User", user?.name || user?.id || "unknown", reachability && el("span", { class: "muted" }, ` · ${reachability}`)),
    ...fact("Last seen", lastSeen ? timeOf(lastSeen) : "never"),
    ...fact("Place", [timezone, locale].filter(Boolean).join(", ") || "unknown"),
  ];
}

function jobRow(job) {
  const ended = Boolean(job.finishedAt) || ENDED.has(job.status);
  const known = typeof job.progress === "number";
  const label = `Progress of job ${job.number}`;
  const bar = !ended && el("progress", known ? { max: 1, value: job.progress, "aria-label": label } : { "aria-label": label });
  const note = [job.note, ended && job.result && (typeof job.result === "string" ? job.result : JSON.stringify(job.result))].filter(Boolean).join(" · ");
  return el("li", {},
    el("div", { class: "line" },
      el("span", { class: "what" }, el("b", {}, `${job.number} `), job.asked || job.name),
      el("span", { class: `badge ${job.status}` }, known && !ended ? `${Math.round(job.progress * 100)} %` : job.status),
      !ended && el("button", { type: "button", class: "small", "data-job": job.id, "aria-label": `Cancel job ${job.number}`, onclick: (event) => cancel(job, event.currentTarget) }, "Cancel")),
    bar,
    note && el("small", { class: "muted clip", title: note }, note));
}

async function cancel(job, button) {
  button.disabled = true;
  try {
    await call("DELETE", `/api/jobs/${encodeKey(job.id)}`);
  } catch (error) {
    button.disabled = false;
    button.title = error.message;
  }
}
