import { adaptiveCard, heroCard, picture } from "./cards.js";
import { el, link, objects, safeLink, text } from "./dom.js";
import { markdown, plain } from "./markdown.js";

const CARD = "application/vnd.microsoft.card.";

/** What a message shows: its text and attachments, as nodes. */
export function content(activity, act) {
  const written = text(activity.channelData?.messageBack?.displayText ?? activity.text);
  const nodes = [];
  if (written) nodes.push(...(activity.textFormat === "plain" || activity.from?.role === "user" ? plain(written) : markdown(written)));
  for (const attachment of objects(activity.attachments)) {
    const node = whateverItIs(attachment, act);
    if (node) nodes.push(node);
  }
  return nodes;
}

/** A card that is nothing like one, or is nested without end, must not keep the rest of the chat from being shown. */
function whateverItIs(attachment, act) {
  try {
    return shown(attachment, act);
  } catch {
    return unshown(attachment);
  }
}

function unshown({ contentType, name }) {
  return el("p", { class: "muted" }, `${text(name) || text(contentType) || "An attachment"} cannot be shown here.`);
}

function shown(attachment, act) {
  const contentUrl = attachment.contentUrl;
  const [contentType, name] = [text(attachment.contentType), text(attachment.name)];
  if (contentType === `${CARD}hero` || contentType === `${CARD}thumbnail`) return heroCard(attachment.content ?? {}, act);
  if (contentType === `${CARD}adaptive`) return adaptiveCard(attachment.content ?? {}, act);
  if (contentType.startsWith("image/")) return picture(contentUrl, name);
  if (typeof contentUrl === "string" && contentUrl.startsWith("data:")) {
    return el("a", { class: "file", href: contentUrl, download: name || "file" }, name || "file");
  }
  const url = safeLink(contentUrl);
  if (url) return link(url, name || url);
  return unshown(attachment);
}

/** The activity that pressing a button sends; null if it sends none. */
export function said(action) {
  const value = action.value;
  switch (action.type) {
    case "messageBack":
      return { type: "message", text: action.text ?? "", value, channelData: { messageBack: { displayText: action.displayText ?? "" } } };
    case "postBack":
      return { type: "message", ...(typeof value === "string" ? { text: value } : { value }), channelData: { postBack: true } };
    case "imBack":
      return { type: "message", text: String(value ?? action.title ?? ""), textFormat: "plain" };
    default:
      return null;
  }
}

/** Whether a message is for the chat's log: what a button sent behind the scenes is not. */
export function isVisible(activity) {
  if (activity.type !== "message") return false;
  if (activity.from?.role !== "user") return Boolean(activity.text || activity.attachments?.length);
  if (activity.channelData?.postBack) return false;
  return Boolean(activity.channelData?.messageBack ? activity.channelData.messageBack.displayText : activity.text || activity.attachments?.length);
}
