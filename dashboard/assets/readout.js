// What the cursor of a chart says: the values under it, to the digit as the API has them.

import { dateTime, zoneName } from "./time.js";

/** uPlot's hooks that keep a box beside the cursor. */
export function readout(sheet) {
  const box = element("div", "readout");
  box.hidden = true;
  // A help for the eye; `spoken` says the same to others, and the table below holds all values.
  box.setAttribute("aria-hidden", "true");
  return {
    ready: [(plot) => plot.over.append(box)],
    setCursor: [(plot) => fill(plot, sheet, box)],
  };
}

/** The values under the cursor as a sentence. */
export function spoken(plot, sheet) {
  const { idx } = plot.cursor;
  if (idx === null || idx === undefined) {
    return "";
  }
  const values = under(plot, sheet, idx).map(({ label, text }) => `${label} ${text}`);
  return `${dateTime(plot.data[0][idx] * 1e3)}: ${values.join(", ")}`;
}

function fill(plot, sheet, box) {
  const { idx, left } = plot.cursor;
  if (idx === null || idx === undefined || left < 0) {
    box.hidden = true;
    return;
  }
  const time = element("time", "", `${dateTime(plot.data[0][idx] * 1e3)} ${zoneName()}`);
  const lines = under(plot, sheet, idx).map(({ label, text, value, stroke }) => {
    const line = element("p", "", text);
    line.style.color = stroke;
    line.dataset.value = value;
    line.append(element("span", "", ` ${label}`));
    return line;
  });
  box.replaceChildren(time, ...lines);
  box.hidden = false;
  const isRight = left > plot.over.clientWidth / 2;
  box.style.left = isRight ? "" : `${left + 12}px`;
  box.style.right = isRight ? `${plot.over.clientWidth - left + 12}px` : "";
}

/** What each trace has at a place of the time axis. */
function under(plot, sheet, idx) {
  return plot.series.flatMap((series, place) => {
    if (!series.trace) {
      return [];
    }
    const at = nearest(plot.data[place], idx);
    const value = at === null ? null : plot.data[place][at];
    const isBucket = series.trace.low !== null;
    let text = value === null ? "–" : sheet.stepped ? String(value > 0) : number(value, isBucket);
    if (value !== null && isBucket) {
      text += ` (${number(plot.data[place + 1][at], false)} … ${number(plot.data[place + 2][at], false)})`;
    }
    const unit = sheet.units[series.trace.axis]?.label ?? "";
    const stroke = series._stroke ?? "";
    return [{ label: series.label, text: unit ? `${text} ${unit}` : text, value: value ?? "", stroke }];
  });
}

/** Where the values of a series are nearest to a time at which perhaps only others have one. */
function nearest(values, idx) {
  for (let step = 0; step < 50; step++) {
    for (const at of [idx - step, idx + step]) {
      if (values[at] !== undefined) {
        return values[at] === null ? null : at;
      }
    }
  }
  return null;
}

/** A reading has all its digits; a mean as many as are read at a glance. */
function number(value, isMean) {
  return isMean ? String(Number(value.toPrecision(7))) : String(value);
}

function element(name, className = "", text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}
