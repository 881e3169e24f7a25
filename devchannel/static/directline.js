const BASE = "/v3/directline/conversations";
const SILENCE_MS = 40_000; // the server sends something every 15 s
const REFRESH_MS = 6 * 3600_000;

export class RequestFailed extends Error {
  constructor(status, body) {
    super(body?.error?.message ?? body?.detail ?? body?.title ?? `The service answered ${status}.`);
    this.status = status;
  }
}

/**
 * One Direct Line conversation: posts activities and streams what is said, across lost connections.
 * Calls `onActivity(activity)`, `onState("connecting" | "online" | "offline" | "ended")` and `onChange()`
 * when `saved` changed.
 */
export class DirectLine {
  constructor(user, saved, { onActivity, onState, onChange }) {
    Object.assign(this, { user, onActivity, onState, onChange });
    this.conversationId = saved?.conversationId ?? null;
    this.token = saved?.token ?? null;
    this.watermark = "";
    this.closed = false;
    this.tries = 0;
  }

  get saved() {
    return { conversationId: this.conversationId, token: this.token };
  }

  async open() {
    this.onState("connecting");
    try {
      const conversation = this.conversationId
        ? await this.#call("GET", `/${this.conversationId}?watermark=${this.watermark}`)
        : await this.#call("POST", "", JSON.stringify({ user: this.user, locale: navigator.language }));
      if (this.closed) return;
      this.conversationId = conversation.conversationId;
      this.#adopt(conversation.token);
      this.#stream(conversation.streamUrl);
    } catch (error) {
      if ([401, 403, 404].includes(error.status)) this.close("ended");
      else this.#again();
    }
  }

  async post(activity) {
    const body = { locale: navigator.language, localTimezone: Intl.DateTimeFormat().resolvedOptions().timeZone, localTimestamp: new Date().toISOString(), ...activity, from: this.user };
    return this.#call("POST", `/${this.conversationId}/activities`, JSON.stringify(body));
  }

  async upload(file, channelData) {
    const form = new FormData();
    const activity = { type: "message", from: this.user, locale: navigator.language, channelData };
    form.append("activity", new Blob([JSON.stringify(activity)], { type: "application/vnd.microsoft.activity" }));
    form.append("file", file, file.name);
    return this.#call("POST", `/${this.conversationId}/upload?userId=${encodeURIComponent(this.user.id)}`, form);
  }

  close(state = null) {
    this.closed = true;
    clearTimeout(this.retry);
    clearTimeout(this.silence);
    clearInterval(this.refresh);
    this.socket?.close();
    if (state) this.onState(state);
  }

  async #call(method, path, body, base = BASE) {
    const headers = { Accept: "application/json" };
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    if (typeof body === "string") headers["Content-Type"] = "application/json";
    const answer = await fetch(base + path, { method, headers, body });
    const content = await answer.json().catch(() => null);
    if (!answer.ok) throw new RequestFailed(answer.status, content);
    return content;
  }

  #adopt(token) {
    this.token = token;
    this.onChange();
    this.refresh ??= setInterval(async () => {
      try {
        this.#adopt((await this.#call("POST", "/refresh", undefined, "/v3/directline/tokens")).token);
      } catch {
        /* the next reconnect tells */
      }
    }, REFRESH_MS);
  }

  #stream(url) {
    const socket = (this.socket = new WebSocket(url));
    const heard = () => {
      clearTimeout(this.silence);
      this.silence = setTimeout(() => socket.close(), SILENCE_MS);
    };
    heard();
    socket.onopen = () => {
      this.tries = 0;
      this.onState("online");
    };
    socket.onmessage = ({ data }) => {
      heard();
      if (!data || this.closed) return;
      const { activities, watermark } = JSON.parse(data);
      if (watermark) this.watermark = watermark;
      for (const activity of activities) this.onActivity(activity);
    };
    socket.onclose = () => {
      clearTimeout(this.silence);
      if (!this.closed) this.#again();
    };
  }

  #again() {
    this.onState("offline");
    this.retry = setTimeout(() => this.open(), Math.min(8000, 500 * 2 ** this.tries++));
  }
}
