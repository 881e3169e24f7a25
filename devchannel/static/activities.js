import { adaptiveCard, heroCard, picture } from "./cards.js";
import { el, link, safeLink } from "./dom.js";
import { markdown, plain } from "./markdown.js";

const CARD = "application/vnd.microsoft.card.";

/** What a message shows: its text and attachments, as nodes. */
export function content(activity, act) {
  const text = activity.channelData?.messageBack?.displayText ?? activity.text;
  const nodes = [];
  if (text) nodes.push(...(activity.textFormat === "plain" || activity.from?.role === "user" ? plain(text) : markdown(text)));
  for (const attachment of activity.attachments ?? []) {
    const node = shown(attachment, act);
    if (node) nodes.push(node);
  }
  return nodes;
}

function shown(attachment, act) {
  const { contentType = "", contentUrl, name } = attachment;
  if (contentType === `${CARD}hero` || contentType === `${CARD}thumbnail`) return heroCard(attachment.content ?? {}, act);
  if (contentType === `${CARD}adaptive`) return adaptiveCard(attachment.content ?? {}, act);
  if (contentType.startsWith("image/")) return picture(contentUrl, name);
  if (typeof contentUrl === "string" && contentUrl.startsWith("data:")) {
    return el("a", { class: "file", href: contentUrl, download: name || "file" }, name || "file");
  }
  const url = safeLink(contentUrl);
  if (url) return link(url, name || url);
  return el("p", { class: "muted" }, `${name || contentType || "An attachment"} cannot be shown here.`);
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
