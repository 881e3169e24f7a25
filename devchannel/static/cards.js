import { el, link, objects, safeImage, safeLink, text } from "./dom.js";
import { markdown } from "./markdown.js";

/** A button of a hero card or a suggested action. `act` says it to the bot. */
export function actionButton(action, act) {
  const title = text(action.title) || text(action.text) || text(action.value);
  const url = action.type === "openUrl" ? safeLink(action.value) : null;
  if (action.type === "openUrl") return url ? el("a", { class: "action", href: url, target: "_blank", rel: "noopener noreferrer" }, title) : null;
  return el("button", { type: "button", class: "action", onclick: () => act(action) }, title);
}

export function heroCard(card, act) {
  const buttons = objects(card.buttons).map((action) => actionButton(action, act)).filter(Boolean);
  return el("div", { class: "rich" },
    objects(card.images).map((image) => picture(image.url, image.alt)),
    text(card.title) && el("h4", {}, text(card.title)),
    text(card.subtitle) && el("p", { class: "muted" }, text(card.subtitle)),
    text(card.text) && markdown(text(card.text)),
    buttons.length > 0 && el("div", { class: "actions" }, buttons));
}

export function picture(url, alt) {
  const source = safeImage(url);
  return source && el("img", { src: source, alt: text(alt), loading: "lazy", referrerPolicy: "no-referrer" });
}

/** The common elements of Adaptive Cards; what is not known shows its fallback text or nothing. */
export function adaptiveCard(card, act) {
  const body = el("div"); // asked for its inputs, for an input may bear the name of anything that a form has
  const form = el("form", { class: "rich adaptive", onsubmit: (event) => event.preventDefault() }, body);
  const submit = (action) => {
    const inputs = [...body.querySelectorAll("input, select, textarea")].filter((input) => input.name);
    const values = Object.fromEntries(inputs.map((input) => [input.name, input.type === "checkbox" ? input.dataset[input.checked ? "on" : "off"] : input.value]));
    if (typeof action.data === "string") act({ type: "imBack", value: action.data });
    else act({ type: "postBack", value: { ...values, ...action.data } });
  };
  body.append(...elements(card.body, submit), ...elements([{ type: "ActionSet", actions: card.actions }], submit));
  return form;
}

function elements(list, submit) {
  return objects(list).filter((item) => item.isVisible !== false).map((item) => element(item, submit)).filter(Boolean);
}

function element(item, submit) {
  switch (item.type) {
    case "TextBlock": {
      const names = ["text", `weight-${text(item.weight) || "default"}`, `size-${text(item.size) || "default"}`, item.isSubtle && "muted", item.wrap === false && "nowrap"];
      return el("div", { class: names.filter(Boolean).join(" ").toLowerCase() }, markdown(text(item.text)));
    }
    case "RichTextBlock":
      return el("p", {}, (Array.isArray(item.inlines) ? item.inlines : []).map((run) => (
        run && typeof run === "object" ? el(run.weight === "bolder" ? "strong" : "span", {}, text(run.text)) : text(run))));
    case "FactSet":
      return el("dl", { class: "facts" }, objects(item.facts).flatMap((fact) => [el("dt", {}, text(fact.title)), el("dd", {}, markdown(text(fact.value)))]));
    case "Container":
      return el("div", { class: "container" }, elements(item.items, submit));
    case "ColumnSet":
      return el("div", { class: "columns" }, objects(item.columns).map((column) => el("div", { class: column.width === "auto" ? "auto" : "" }, elements(column.items, submit))));
    case "Image":
      return picture(item.url, item.altText);
    case "ActionSet": {
      const buttons = objects(item.actions).map((action) => adaptiveAction(action, submit)).filter(Boolean);
      return buttons.length > 0 && el("div", { class: "actions" }, buttons);
    }
    default:
      return text(item.type).startsWith("Input.") ? input(item) : item.fallback?.type ? element(item.fallback, submit) : null;
  }
}

function adaptiveAction(action, submit) {
  if (action.type === "Action.OpenUrl") {
    const url = safeLink(action.url);
    if (!url) return null;
    const anchor = link(url, text(action.title) || url);
    anchor.className = "action";
    return anchor;
  }
  if (action.type !== "Action.Submit") return null;
  return el("button", { type: "button", class: "action", onclick: () => submit(action) }, text(action.title) || "Submit");
}

const INPUT_TYPES = { "Input.Text": "text", "Input.Number": "number", "Input.Date": "date", "Input.Time": "time" };

function input(item) {
  const name = text(item.id);
  const label = (control) => el("label", { class: "field" }, text(item.label) || text(item.title) || text(item.placeholder) || name, control);
  if (item.type === "Input.Toggle") {
    const on = text(item.valueOn) || "true";
    const box = el("input", { type: "checkbox", name, checked: text(item.value) === on });
    Object.assign(box.dataset, { on, off: text(item.valueOff) || "false" });
    return el("label", { class: "check" }, box, text(item.title));
  }
  if (item.type === "Input.ChoiceSet") {
    const chosen = text(item.value);
    const options = objects(item.choices).map((choice) => el("option", { value: text(choice.value), selected: text(choice.value) === chosen }, text(choice.title)));
    return label(el("select", { name }, options));
  }
  if (!(item.type in INPUT_TYPES)) return null;
  const given = { name, value: text(item.value), placeholder: text(item.placeholder) };
  return label(item.isMultiline ? el("textarea", { rows: 3, ...given }) : el("input", { type: INPUT_TYPES[item.type], ...given }));
}
