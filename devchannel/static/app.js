import { Chat } from "./chat.js";
import { Knowledge } from "./knowledge.js";
import { Panel } from "./panel.js";
import { el } from "./dom.js";

const STORED = "aside.chats";
const NAMES = ["Ada", "Ben", "Chloe", "Dana"];
const POLL_MS = 1000;

const columns = document.getElementById("chats");
const recipient = document.getElementById("recipient");
const addButton = document.getElementById("add-user");
const chats = [];
let active = null;

function newUser() {
  const name = NAMES.find((candidate) => !chats.some((chat) => chat.user.name === candidate));
  const digits = [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return { id: `dl_${name.toLowerCase()}_${digits}`, name };
}

function add(user, saved = null) {
  const chat = new Chat({ user, saved, onActive: activate, onChange: remember, onClose: remove });
  chats.push(chat);
  columns.append(chat.element);
  listChats();
  return chat;
}

function remove(chat) {
  chats.splice(chats.indexOf(chat), 1);
  chat.close();
  listChats();
  if (active === chat) activate(chats[0]);
  remember();
}

function activate(chat) {
  if (active === chat) return;
  active = chat;
  for (const one of chats) one.markActive(one === chat);
  recipient.value = chat.user.id;
  panel.show();
  poll();
}

function listChats() {
  recipient.replaceChildren(...chats.map((chat) => el("option", { value: chat.user.id }, chat.user.name)));
  if (active) recipient.value = active.user.id;
  addButton.hidden = chats.length >= NAMES.length;
  columns.classList.toggle("single", chats.length === 1);
  recipient.parentElement.hidden = chats.length === 1;
}

function remember() {
  sessionStorage.setItem(STORED, JSON.stringify(chats.filter((chat) => chat.line).map((chat) => chat.saved)));
  panel.show();
}

/** Everything that the side shows, once; the phase of every chat, and all of the active one. */
async function poll() {
  await Promise.all([panel.poll(), ...chats.map((chat) => look(chat))]);
}

async function look(chat) {
  const key = chat.key;
  if (!key) return;
  try {
    const [conversation, jobs] = await Promise.all([knowledge.conversation(key), chat === active ? knowledge.jobsOf(key) : []]);
    if (chat.key !== key) return;
    chat.showPhase(conversation?.phase);
    if (chat === active) knowledge.show(conversation, jobs);
  } catch (error) {
    if (error.status === 401) panel.askForKey(error);
    if (chat === active) knowledge.showUnreachable();
  }
}

async function pollWhileVisible() {
  if (document.visibilityState === "visible" && !panel.lacksKey) await poll();
  setTimeout(pollWhileVisible, POLL_MS);
}

const knowledge = new Knowledge();
const panel = new Panel(() => active?.key);
recipient.addEventListener("change", () => activate(chats.find((chat) => chat.user.id === recipient.value)));
addButton.addEventListener("click", () => {
  const chat = add(newUser());
  activate(chat);
  chat.input.focus();
});
const saved = JSON.parse(sessionStorage.getItem(STORED) ?? "[]");
for (const { user, ...line } of saved) add(user, line.conversationId ? line : null);
activate(chats[0] ?? add(newUser()));
active.input.focus();
pollWhileVisible();
