// The choices above the charts that are not of time alone: how readings are put together, how charts
// are laid out, what they are compared with, whose clocks count; and taking what is shown elsewhere.
//
// All of it is in the address, so nothing is kept here. `src/page/tools.rs` has the element.

import { change } from "./address.js";
import { apiCall, command, download, downloadPicture } from "./export.js";
import { localZone } from "./time.js";

const AGGREGATES = ["mean", "min", "max", "sum", "count", "first", "last", "stddev", "p50", "p95", "p99", "twa", "rate", "increase", "delta"];
const BUCKETS = ["1s", "10s", "1m", "5m", "15m", "1h", "6h", "1d"];

const KEYS = [
  ["Drag", "zoom into a stretch"],
  ["Wheel, + and −", "zoom around the pointer"],
  ["Shift and drag, middle button, ← →", "move along the time axis"],
  ["One finger, two fingers", "move along the time axis, zoom"],
  ["Double click, Backspace", "back to the range before"],
  ["Shift and ← →, Home, End", "from reading to reading; it is read aloud"],
  ["Esc", "take the cursor away"],
  ["↑ ↓ ← → Enter, a letter", "in the tree: move, open, pick, find"],
  ["Ctrl and wheel", "the browser's own zoom"],
];

/** The choices: their name in the address, their label, and what may be chosen. */
function choices() {
  const local = localZone();
  const zones = Intl.supportedValuesOf?.("timeZone") ?? [];
  const plain = (names) => names.map((name) => [name, name]);
  return [
    ["agg", "Show", [["", "mean and range"], ...plain(AGGREGATES)]],
    ["every", "Bucket", [["", "automatic"], ...plain(BUCKETS)]],
    ["charts", "Charts", [["", "two units each"], ["unit", "one a unit"], ["each", "one a series"]]],
    ["vs", "Compare", [["", "with nothing"], ["prev", "the period before"], ["1d", "a day before"], ["7d", "a week before"]]],
    ["tz", "Zone", [["", "UTC"], ["local", `local (${local})`], ...plain(zones.filter((zone) => zone !== "UTC"))]],
  ];
}

/** Puts the choices into `host`, once, and shows what the address says. */
export function tools(host) {
  if (!host.firstChild) {
    host.append(...choices().map(choice), exports(), copies(), help());
    // A menu closes when something else is done.
    addEventListener("click", (event) => close(host, (menu) => !menu.contains(event.target)));
    host.addEventListener("keydown", (event) => event.key === "Escape" && close(host, () => true));
  }
  const query = new URLSearchParams(location.search);
  for (const select of host.querySelectorAll("select")) {
    const value = query.get(select.name) ?? "";
    if (![...select.options].some((option) => option.value === value)) {
      select.add(new Option(value, value));
    }
    select.value = value;
  }
}

function choice([name, label, options]) {
  const select = element("select");
  select.name = name;
  select.append(...options.map(([value, text]) => new Option(text, value)));
  select.addEventListener("change", () => change({ [name]: select.value }));
  return element("label", "choice", element("span", "", label), select);
}

function exports() {
  return menu("Export", [
    ["CSV", () => download("csv")],
    ["Parquet", () => download("parquet")],
    ["PNG", downloadPicture],
  ]);
}

function copies() {
  return menu("Copy", [
    ["Address of this view", () => copy(location.href)],
    ["query-app command", () => copy(command())],
    ["API call (curl)", () => copy(apiCall())],
  ]);
}

function menu(title, items) {
  const details = element("details", "menu", element("summary", "button", title));
  const list = element("div", "menu-items");
  for (const [label, act] of items) {
    const item = element("button", "", label);
    item.type = "button";
    item.addEventListener("click", async () => {
      details.open = false;
      details.firstChild.focus();
      note(await act());
    });
    list.append(item);
  }
  details.append(list);
  details.addEventListener("toggle", () => {
    // To the left where there is no room on the right.
    list.classList.remove("flipped");
    list.classList.toggle("flipped", list.getBoundingClientRect().right > document.documentElement.clientWidth);
  });
  return details;
}

function close(host, when) {
  for (const open of host.querySelectorAll("details[open]")) {
    if (when(open)) {
      const hadFocus = open.contains(document.activeElement);
      open.open = false;
      if (hadFocus) {
        open.firstChild.focus();
      }
    }
  }
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return "Copied.";
  } catch {
    // Not every page may use the clipboard: then the text is there to be taken by hand.
    return text;
  }
}

/** Says what became of it, for a while. */
function note(text) {
  let line = document.querySelector(".tools-note");
  if (!line) {
    line = element("p", "tools-note");
    line.setAttribute("role", "status");
    document.querySelector(".tools").after(line);
  }
  line.textContent = text ?? "";
}

function help() {
  const rows = KEYS.map(([keys, what]) => element("tr", "", element("th", "", keys), element("td", "", what)));
  rows.forEach((row) => (row.firstChild.scope = "row"));
  const title = element("h2", "", "On a chart, with mouse or keys");
  title.id = "help-title";
  const done = element("button", "button", "Close");
  const dialog = element("dialog", "help", title, element("table", "", element("tbody", "", ...rows)), done);
  dialog.setAttribute("aria-labelledby", title.id);
  done.type = "button";
  done.addEventListener("click", () => dialog.close());
  const button = element("button", "button", "Keys");
  button.type = "button";
  button.addEventListener("click", () => dialog.showModal());
  return element("span", "", button, dialog);
}

function element(name, className = "", ...children) {
  const made = document.createElement(name);
  made.className = className;
  made.append(...children);
  return made;
}
