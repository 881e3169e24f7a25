import { el, link, safeImage, safeLink } from "./dom.js";
import { markdown } from "./markdown.js";

/** A button of a hero card or a suggested action. `act` says it to the bot. */
export function actionButton(action, act) {
  const title = action.title || action.text || String(action.value ?? "");
  const url = action.type === "openUrl" ? safeLink(action.value) : null;
  if (action.type === "openUrl") return url ? el("a", { class: "action", href: url, target: "_blank", rel: "noopener noreferrer" }, title) : null;
  return el("button", { type: "button", class: "action", onclick: () => act(action) }, title);
}

export function heroCard(card, act) {
  const buttons = (card.buttons ?? []).map((action) => actionButton(action, act)).filter(Boolean);
  return el("div", { class: "rich" },
    (card.images ?? []).map((image) => picture(image.url, image.alt)),
    card.title && el("h4", {}, card.title),
    card.subtitle && el("p", { class: "muted" }, card.subtitle),
    card.text && markdown(card.text),
    buttons.length > 0 && el("div", { class: "actions" }, buttons));
}

export function picture(url, alt) {
  const source = safeImage(url);
  return source && el("img", { src: source, alt: alt ?? "", loading: "lazy", referrerPolicy: "no-referrer" });
}

/** The common elements of Adaptive Cards; what is not known shows its fallback text or nothing. */
export function adaptiveCard(card, act) {
  const form = el("form", { class: "rich adaptive", onsubmit: (event) => event.preventDefault() });
  const submit = (action) => {
    const inputs = [...form.elements].filter((input) => input.name);
    const values = Object.fromEntries(inputs.map((input) => [input.name, input.type === "checkbox" ? input.dataset[input.checked ? "on" : "off"] : input.value]));
    if (typeof action.data === "string") act({ type: "imBack", value: action.data });
    else act({ type: "postBack", value: { ...values, ...action.data } });
  };
  form.append(...elements(card.body, submit), ...elements([{ type: "ActionSet", actions: card.actions ?? [] }], submit));
  return form;
}

function elements(list, submit) {
  return (list ?? []).filter((item) => item?.isVisible !== false).map((item) => element(item, submit)).filter(Boolean);
}

function element(item, submit) {
  switch (item.type) {
    case "TextBlock": {
      const names = ["text", `weight-${item.weight ?? "default"}`, `size-${item.size ?? "default"}`, item.isSubtle && "muted", item.wrap === false && "nowrap"];
      return el("div", { class: names.filter(Boolean).join(" ").toLowerCase() }, markdown(String(item.text ?? "")));
    }
    case "RichTextBlock":
      return el("p", {}, (item.inlines ?? []).map((run) => (typeof run === "string" ? run : el(run.weight === "bolder" ? "strong" : "span", {}, run.text ?? ""))));
    case "FactSet":
      return el("dl", { class: "facts" }, (item.facts ?? []).flatMap((fact) => [el("dt", {}, fact.title ?? ""), el("dd", {}, markdown(String(fact.value ?? "")))]));
    case "Container":
      return el("div", { class: "container" }, elements(item.items, submit));
    case "ColumnSet":
      return el("div", { class: "columns" }, (item.columns ?? []).map((column) => el("div", { class: column.width === "auto" ? "auto" : "" }, elements(column.items, submit))));
    case "Image":
      return picture(item.url, item.altText);
    case "ActionSet": {
      const buttons = (item.actions ?? []).map((action) => adaptiveAction(action, submit)).filter(Boolean);
      return buttons.length > 0 && el("div", { class: "actions" }, buttons);
    }
    default:
      return item.type?.startsWith("Input.") ? input(item) : item.fallback?.type ? element(item.fallback, submit) : null;
  }
}

function adaptiveAction(action, submit) {
  if (action.type === "Action.OpenUrl") {
    const url = safeLink(action.url);
    if (!url) return null;
    const anchor = link(url, action.title ?? url);
    anchor.className = "action";
    return anchor;
  }
  if (action.type !== "Action.Submit") return null;
  return el("button", { type: "button", class: "action", onclick: () => submit(action) }, action.title ?? "Submit");
}

const INPUT_TYPES = { "Input.Text": "text", "Input.Number": "number", "Input.Date": "date", "Input.Time": "time" };

function input(item) {
  const label = (control) => el("label", { class: "field" }, item.label ?? item.title ?? item.placeholder ?? item.id ?? "", control);
  if (item.type === "Input.Toggle") {
    const box = el("input", { type: "checkbox", name: item.id, checked: item.value === (item.valueOn ?? "true") });
    Object.assign(box.dataset, { on: item.valueOn ?? "true", off: item.valueOff ?? "false" });
    return el("label", { class: "check" }, box, item.title ?? "");
  }
  if (item.type === "Input.ChoiceSet") {
    const options = (item.choices ?? []).map((choice) => el("option", { value: choice.value, selected: choice.value === item.value }, choice.title));
    return label(el("select", { name: item.id }, options));
  }
  if (!(item.type in INPUT_TYPES)) return null;
  if (item.isMultiline) return label(el("textarea", { name: item.id, rows: 3, value: item.value ?? "", placeholder: item.placeholder ?? "" }));
  return label(el("input", { type: INPUT_TYPES[item.type], name: item.id, value: item.value ?? "", placeholder: item.placeholder ?? "" }));
}
