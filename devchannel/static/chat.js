import { content, isVisible, said } from "./activities.js";
import { actionButton } from "./cards.js";
import { DirectLine } from "./directline.js";
import { el, objects, timeOf } from "./dom.js";

const TYPING_MS = 5000;
const STATES = { connecting: "Connecting…", online: "Online", offline: "Reconnecting…", ended: "This chat has ended" };

/** One user's chat: a column with its log, what the bot suggests, and where to write. */
export class Chat {
  constructor({ user, saved, onActive, onChange, onClose }) {
    Object.assign(this, { user, onActive, onChange });
    this.bubbles = new Map(); // activity id or clientActivityID -> bubble
    this.#build(onClose);
    this.#connect(saved);
  }

  get key() {
    return this.line.conversationId && `directline/${this.line.conversationId}`;
  }

  get saved() {
    return { user: this.user, ...this.line.saved };
  }

  close() {
    this.line.close();
    this.element.remove();
  }

  startOver() {
    this.line.close();
    this.bubbles.clear();
    this.log.replaceChildren();
    this.suggestions.replaceChildren();
    this.#typing(false);
    this.showPhase(null);
    this.#connect(null);
    this.onChange();
    this.input.focus();
  }

  markActive(active) {
    this.element.classList.toggle("active", active);
  }

  showPhase(phase) {
    this.phase.textContent = phase ?? "";
    this.phase.className = phase ? `badge ${phase}` : "badge";
    this.phase.hidden = !phase;
  }

  #connect(saved) {
    const line = (this.line = new DirectLine(this.user, saved, {
      onActivity: (activity) => line === this.line && this.#show(activity),
      onState: (state) => line === this.line && this.#state(state),
      onChange: () => this.onChange(),
    }));
    line.open();
  }

  #build(onClose) {
    const name = this.user.name;
    this.phase = el("span", { class: "badge", hidden: true, title: "Phase of the conversation" });
    this.status = el("span", { class: "status", role: "status" });
    this.log = el("div", { class: "log", role: "log", "aria-live": "polite", "aria-label": `Chat of ${name} with Aside`, tabIndex: 0 });
    this.typing = el("div", { class: "typing", hidden: true }, el("span", { class: "hidden" }, "Aside is typing"), el("i"), el("i"), el("i"));
    this.suggestions = el("div", { class: "suggestions", role: "group", "aria-label": "Suggested answers" });
    this.input = el("textarea", { rows: 1, placeholder: "Write a message…", "aria-label": `Message from ${name}`, onkeydown: (event) => this.#key(event), oninput: () => this.#grow() });
    const file = el("input", { type: "file", hidden: true, tabIndex: -1, "aria-label": "File to send", onchange: () => this.#attach(file) });
    const form = el("form", { class: "composer", onsubmit: (event) => this.#submit(event) },
      file,
      el("button", { type: "button", class: "icon", title: "Send a file (up to 1 MiB)", "aria-label": "Send a file", onclick: () => file.click() }, "+"),
      this.input,
      el("button", { type: "submit", class: "primary" }, "Send"));
    this.element = el("article", { class: "chat", "aria-label": `Chat of ${name}`, onfocusin: () => this.onActive(this), onpointerdown: () => this.onActive(this) },
      el("header", {},
        el("span", { class: "avatar", "aria-hidden": "true" }, name[0]),
        el("div", { class: "who" }, el("h2", {}, name), this.status),
        this.phase,
        el("button", { type: "button", class: "quiet", onclick: () => this.startOver() }, "New chat"),
        el("button", { type: "button", class: "icon close", title: `Close ${name}'s chat`, "aria-label": `Close ${name}'s chat`, onclick: () => onClose(this) }, "×")),
      this.log, this.typing, this.suggestions, form);
  }

  #state(state) {
    this.status.textContent = STATES[state];
    this.status.dataset.state = state;
    this.input.disabled = state === "ended";
  }

  #key(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.#submit(event);
  }

  #grow() {
    this.input.style.height = "auto";
    this.input.style.height = `${Math.min(this.input.scrollHeight, 140)}px`;
  }

  #submit(event) {
    event.preventDefault();
    const text = this.input.value.trim();
    if (!text || !this.key) return;
    this.input.value = "";
    this.#grow();
    this.#send({ type: "message", text, textFormat: "plain" });
  }

  #act(action) {
    const activity = said(action);
    if (activity) this.#send(activity);
  }

  async #send(activity, deliver = (body) => this.line.post(body)) {
    this.suggestions.replaceChildren();
    const clientId = crypto.randomUUID();
    const body = { ...activity, channelData: { ...activity.channelData, clientActivityID: clientId } };
    this.#show({ ...body, from: { ...this.user, role: "user" }, timestamp: new Date().toISOString() }, "sending");
    const line = this.line;
    try {
      await deliver(body);
      this.#note(clientId, "");
    } catch (error) {
      const echoed = this.bubbles.get(clientId)?.classList.contains("echoed");
      if (line === this.line) this.#note(clientId, echoed ? error.message : `Not sent. ${error.message}`, true);
    }
  }

  #attach(input) {
    const [file] = input.files;
    input.value = "";
    if (!file) return;
    const attachments = [{ name: file.name, contentType: "", contentUrl: "" }];
    this.#send({ type: "message", text: "", attachments }, (body) => this.line.upload(file, body.channelData));
  }

  #show(activity, note = "") {
    const { id, type, from, channelData } = activity;
    if (type === "typing") return from?.role !== "user" && this.#typing(true);
    if (type === "messageDelete") return this.#delete(id);
    if (from?.role !== "user" && type === "message") this.#typing(false);
    if (!isVisible(activity)) return;
    const bubble = this.#bubbleFor(id, channelData?.clientActivityID, from?.role === "user");
    const follow = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 80;
    bubble.classList.toggle("echoed", Boolean(id));
    bubble.classList.toggle("bare", !activity.text && !channelData?.messageBack);
    bubble.querySelector(".content").replaceChildren(...content(activity, (action) => this.#act(action)));
    const time = bubble.querySelector("time");
    time.textContent = timeOf(activity.timestamp);
    if (note) bubble.querySelector(".note").textContent = "Sending…";
    this.#suggest(activity);
    if (follow || from?.role === "user") this.log.scrollTop = this.log.scrollHeight;
  }

  #bubbleFor(id, clientId, mine) {
    let bubble = this.bubbles.get(id) ?? this.bubbles.get(clientId);
    if (!bubble) {
      bubble = el("div", { class: `message ${mine ? "mine" : "theirs"}` },
        el("span", { class: "hidden" }, `${mine ? this.user.name : "Aside"} said:`),
        el("div", { class: "content" }),
        el("div", { class: "meta" }, el("time"), el("span", { class: "note" })));
      this.log.append(bubble);
    }
    if (id) this.bubbles.set(id, bubble);
    if (clientId) this.bubbles.set(clientId, bubble);
    return bubble;
  }

  #note(clientId, text, failed = false) {
    const note = this.bubbles.get(clientId)?.querySelector(".note");
    if (!note) return;
    note.textContent = text;
    note.classList.toggle("failed", failed);
  }

  #delete(id) {
    const bubble = this.bubbles.get(id);
    if (!bubble) return;
    bubble.className = "message theirs deleted";
    bubble.querySelector(".content").replaceChildren(el("p", {}, "This message was deleted."));
    if (this.suggested === id) this.suggestions.replaceChildren();
  }

  #suggest(activity) {
    if (activity.from?.role === "user") return this.suggestions.replaceChildren();
    if (this.bubbles.get(activity.id) !== this.log.lastElementChild) return undefined;
    this.suggested = activity.id;
    const actions = objects(activity.suggestedActions?.actions);
    return this.suggestions.replaceChildren(...actions.map((action) => actionButton(action, (chosen) => this.#act(chosen))).filter(Boolean));
  }

  #typing(on) {
    clearTimeout(this.typingEnd);
    this.typing.hidden = !on;
    if (on) this.typingEnd = setTimeout(() => this.#typing(false), TYPING_MS);
  }
}
