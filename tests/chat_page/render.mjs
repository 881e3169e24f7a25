/** Renders activities as the chat page does. Reads a list of them from standard input as JSON, writes what each shows. */
import { readFileSync } from "node:fs";

class Node_ {
  constructor(tag) {
    Object.assign(this, { tag, nodes: [], dataset: {} });
  }
  append(...nodes) {
    this.nodes.push(...nodes);
  }
  setAttribute() {}
  addEventListener() {}
  get textContent() {
    return this.nodes.map((node) => (node instanceof Node_ ? node.textContent : String(node))).join("");
  }
}

globalThis.document = { createElement: (tag) => new Node_(tag) };
const { content } = await import("../../devchannel/static/activities.js");
const shown = JSON.parse(readFileSync(0, "utf8")).map((activity) => {
  const began = process.cpuUsage().user;
  const text = content(activity, () => {}).map((node) => (node instanceof Node_ ? node.textContent : String(node))).join("|");
  return { text, microseconds: process.cpuUsage().user - began };
});
process.stdout.write(JSON.stringify(shown));
