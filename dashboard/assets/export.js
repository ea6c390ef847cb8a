// Taking what is shown elsewhere: as a file, as a picture, as a command that gives the same.
//
// The question that the charts show is on their element, as `src/plan.rs` wrote it.

import { paintAll } from "./chart.js";
import { dateTime, zoneName } from "./time.js";

function question() {
  return document.querySelector(".charts")?.dataset.question ?? "";
}

function nothing() {
  return "Nothing is shown yet.";
}

/** Has the browser load what is shown, in `format`, from the API. */
export function download(format) {
  if (!question()) {
    return nothing();
  }
  save(`/api/v1/range?${question()}&format=${format}`, `${name()}.${format}`);
  return `${name()}.${format} is on its way.`;
}

/** Draws every chart of the page, with its title and legend, into one picture. */
export async function downloadPicture() {
  const panels = [...document.querySelectorAll(".panel")].filter((panel) => panel.querySelector("canvas"));
  if (panels.length === 0) {
    return nothing();
  }
  paintAll();
  await new Promise(requestAnimationFrame);
  const ratio = devicePixelRatio;
  const style = getComputedStyle(document.body);
  const lines = panels.map((panel) => [...panel.querySelectorAll(".summaries li")]);
  const canvases = panels.map((panel) => panel.querySelector("canvas"));
  const [pad, line] = [16 * ratio, 18 * ratio];
  const heights = canvases.map((canvas, at) => canvas.height + (lines[at].length + 1) * line + pad);
  const picture = document.createElement("canvas");
  picture.width = Math.max(...canvases.map((canvas) => canvas.width)) + 2 * pad;
  picture.height = heights.reduce((sum, height) => sum + height, 2 * pad);
  const context = picture.getContext("2d");
  context.fillStyle = getComputedStyle(panels[0]).backgroundColor;
  context.fillRect(0, 0, picture.width, picture.height);
  let top = pad;
  panels.forEach((panel, at) => {
    context.fillStyle = style.color;
    context.font = `600 ${13 * ratio}px ${style.fontFamily}`;
    context.fillText(panel.querySelector("h2").textContent, pad, top + 12 * ratio);
    lines[at].forEach((legend, row) => {
      const y = top + (row + 1) * line;
      context.fillStyle = getComputedStyle(legend.querySelector(".swatch")).backgroundColor;
      context.fillRect(pad, y + 4 * ratio, 10 * ratio, 10 * ratio);
      context.fillStyle = style.color;
      context.font = `${12 * ratio}px ${style.fontFamily}`;
      context.fillText(legend.textContent, pad + line, y + 13 * ratio);
    });
    context.drawImage(canvases[at], pad, top + (lines[at].length + 1) * line);
    top += heights[at];
  });
  const blob = await new Promise((resolve) => picture.toBlob(resolve));
  const address = URL.createObjectURL(blob);
  save(address, `${name()}.png`);
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
  return `${name()}.png is saved.`;
}

/** The command that prints what is shown. */
export function command() {
  const query = new URLSearchParams(question());
  const paths = query.getAll("match").map(quoted);
  const flags = ["from", "to", "every", "agg"].flatMap((flag) =>
    query.has(flag) ? [`--${flag} ${quoted(query.get(flag))}`] : [],
  );
  return `query-app range ${paths.join(" ")} ${flags.join(" ")} --format csv`;
}

/** The API call that answers what is shown. */
export function apiCall() {
  return `curl --compressed -H 'accept: text/csv' ${quoted(`${location.origin}/api/v1/range?${question()}`)}`;
}

/** A word of a shell's command. */
function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** A file name that says what is in it. */
function name() {
  const query = new URLSearchParams(question());
  const first = query.get("match")?.replaceAll("/", "_") ?? "";
  const more = query.getAll("match").length > 1 ? "_and_more" : "";
  const from = dateTime(Date.parse(query.get("from"))).replace(/[: ]/g, "-");
  return `${first}${more}_${from}_${zoneName().replaceAll("/", "-")}`;
}

function save(address, file) {
  const link = document.createElement("a");
  link.href = address;
  link.download = file;
  document.body.append(link);
  link.click();
  link.remove();
}
