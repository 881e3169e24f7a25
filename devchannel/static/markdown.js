import { el, link, safeLink } from "./dom.js";

/** Every part of it ends somewhere: what has no end is not looked for to the end of a long text, from each place in it. */
const INLINE = new RegExp(
  [
    "(?<ticks>`{1,3})(?<code>[^`].{0,500}?)\\k<ticks>",
    "\\[(?<label>[^\\[\\]\\n]{1,300})\\]\\((?<target>[^()\\s]{1,2000}(?:\\([^()\\s]{0,200}\\)[^()\\s]{0,200}){0,5})\\)",
    "\\*\\*(?<bold>\\S(?:.{0,300}?\\S)?)\\*\\*",
    "(?<![\\w*])\\*(?<star>[^\\s*](?:[^*\\n]{0,300}[^\\s*])?)\\*(?![\\w*])",
    "(?<![\\w])_(?<line>[^\\s_](?:[^\\n]{0,300}?[^\\s_])?)_(?![\\w])",
    "(?<url>https?://[^\\s<>]{0,2000}[^\\s<>.,;:!?'\")\\]])",
  ].join("|"),
  "gsu",
);

/** Bold, italics, code and links of one stretch of text. */
function inline(text) {
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    nodes.push(...lines(text.slice(end, match.index)));
    end = match.index + match[0].length;
    const { code, label, target, bold, star, line, url } = match.groups;
    if (code !== undefined) nodes.push(el("code", {}, code.trim() || code));
    else if (bold !== undefined) nodes.push(el("strong", {}, ...inline(bold)));
    else if (star !== undefined) nodes.push(el("em", {}, ...inline(star)));
    else if (line !== undefined) nodes.push(el("em", {}, ...inline(line)));
    else {
      const href = safeLink(url ?? target, ["http:", "https:", "mailto:"]);
      nodes.push(href ? link(href, label ?? url) : match[0]);
    }
  }
  nodes.push(...lines(text.slice(end)));
  return nodes;
}

function lines(text) {
  return text.split("\n").flatMap((line, index) => (index ? [el("br"), line] : [line])).filter((node) => node !== "");
}

const FORMATTED = 20000; // characters; what is longer is shown as it stands
const BULLET = /^\s*[-*+]\s+(.*)$/;
const NUMBER = /^\s*(\d{1,9})[.)]\s+(.*)$/;
const HEADING = /^#{1,6}\s+(.*)$/;

/** A small part of Markdown as DOM nodes: what bots use in chats. */
export function markdown(text) {
  if (text.length > FORMATTED) return plain(text);
  const blocks = [];
  const source = text.replace(/\r\n?/g, "\n").split("\n");
  let paragraph = [];
  const close = () => {
    if (paragraph.length) blocks.push(el("p", {}, ...inline(paragraph.join("\n"))));
    paragraph = [];
  };
  for (let i = 0; i < source.length; i++) {
    const line = source[i];
    if (/^\s*```/.test(line)) {
      close();
      const code = [];
      while (++i < source.length && !/^\s*```\s*$/.test(source[i])) code.push(source[i]);
      blocks.push(el("pre", { tabIndex: 0 }, el("code", {}, code.join("\n"))));
    } else if (BULLET.test(line) || NUMBER.test(line)) {
      close();
      const pattern = BULLET.test(line) ? BULLET : NUMBER;
      const list = pattern === BULLET ? el("ul") : el("ol", { start: Number(NUMBER.exec(line)[1]) });
      for (; i < source.length && pattern.test(source[i]); i++) {
        list.append(el("li", {}, ...inline(pattern.exec(source[i]).at(-1))));
      }
      i--;
      blocks.push(list);
    } else if (HEADING.test(line)) {
      close();
      blocks.push(el("p", {}, el("strong", {}, ...inline(HEADING.exec(line)[1]))));
    } else if (!line.trim()) close();
    else paragraph.push(line);
  }
  close();
  return blocks;
}

/** Text as it stands, with its line breaks. */
export function plain(text) {
  return [el("p", {}, ...lines(text))];
}
