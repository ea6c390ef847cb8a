// What hands do with a chart: wheel, drag, double click, fingers, keys. All charts move together, at once,
// with what is already drawn; the address follows, and with it the question for what is to be seen.

import { isZoomed, showRange } from "./address.js";
import { charts } from "./chart.js";
import { spoken } from "./readout.js";

/** A turn of the wheel, and a key. */
const WHEEL_FACTOR = 1.25;
const KEY_FACTOR = 2;
/** Part of the range that an arrow key moves. */
const KEY_SHARE = 0.25;
/** No one looks closer. In seconds. */
const WIDTH_MIN = 0.02;
const WIDTH_MAX = 300 * 365 * 86400;
/** How often a gesture that goes on changes the address; browsers refuse more. */
const PACE_MS = 150;

let waiting = 0;
let latest = null;
let voice = null;

/** Whether the charts are ahead of the address, and so of what is drawn next. */
export function isMoving() {
  return latest !== null;
}

/** Moves every chart to `from` … `to`, in seconds, and the address after them. */
function move(from, to, name) {
  const width = Math.min(Math.max(to - from, WIDTH_MIN), WIDTH_MAX);
  const middle = (from + to) / 2;
  const range = [middle - width / 2, middle + width / 2];
  for (const chart of charts) {
    chart.scale(...range);
  }
  if (latest?.[2] !== name) {
    settle();
  }
  latest = [...range, name];
  if (!waiting) {
    pace();
  }
}

/** Takes the last step of a gesture into the address, unless it is there. */
function settle() {
  if (latest) {
    const [from, to, name] = latest;
    latest = null;
    showRange(from * 1e3, to * 1e3, name);
  }
}

/** The first step at once, the next ones at a bounded pace, the last one always. */
function pace() {
  settle();
  waiting = setTimeout(() => {
    waiting = 0;
    if (latest) {
      pace();
    }
  }, PACE_MS);
}

/** Listens on a chart; gives what ends it. */
export function attach(chart) {
  const { host } = chart;
  const listening = new AbortController();
  const on = (name, listener, more = {}) =>
    host.addEventListener(name, listener, { signal: listening.signal, ...more });
  chart.zoom = move;
  on("mousedown", (event) => moves(event) && isOver(chart, event) && pan(chart, event), { capture: true });
  touch(chart, on, listening.signal);
  on("wheel", (event) => wheel(chart, event), { passive: false });
  on("dblclick", (event) => isOver(chart, event) && back(chart));
  on("keydown", (event) => key(chart, event));
  return () => listening.abort();
}

/** What uPlot does when a button goes down: a plain drag marks a stretch. */
export function dragStarts(_plot, _target, mark) {
  return (event) => (moves(event) ? null : mark(event));
}

/** Whether a drag moves the chart. */
function moves(event) {
  return event.button === 1 || (event.button === 0 && event.shiftKey);
}

function pan(chart, event) {
  // No text is selected, and the middle button does not scroll.
  event.preventDefault();
  const { clientX } = event;
  const { over } = chart.plot;
  const { min, max } = chart.plot.scales.x;
  const secondsPerPixel = (max - min) / over.clientWidth;
  const listening = new AbortController();
  const { signal } = listening;
  over.classList.add("panning");
  const moved = (event) => {
    const by = (clientX - event.clientX) * secondsPerPixel;
    if (by !== 0) {
      move(min + by, max + by, "pan");
    }
  };
  const ended = () => {
    over.classList.remove("panning");
    listening.abort();
  };
  addEventListener("mousemove", moved, { signal });
  addEventListener("mouseup", ended, { signal });
  addEventListener("blur", ended, { signal });
}

/** One finger moves the charts, two spread or squeeze what is between them. Up and down scrolls the page. */
function touch(chart, on, signal) {
  const fingers = new Map();
  // What was under each finger when their number last changed, in seconds, and how many a pixel had.
  let held = null;
  const hold = () => {
    const { min, max } = chart.plot.scales.x;
    const box = chart.plot.over.getBoundingClientRect();
    const pace = (max - min) / box.width;
    held = { box, pace, times: [...fingers.values()].map((x) => min + (x - box.left) * pace) };
  };
  const left = (event) => fingers.delete(event.pointerId) && chart.plot && hold();
  on("pointerdown", (event) => {
    if (event.pointerType === "touch" && fingers.size < 2 && isOver(chart, event)) {
      fingers.set(event.pointerId, event.clientX);
      hold();
    }
  });
  addEventListener(
    "pointermove",
    (event) => {
      const before = fingers.get(event.pointerId);
      if (before === undefined || before === event.clientX) {
        return;
      }
      fingers.set(event.pointerId, event.clientX);
      const { box, times } = held;
      const [x, other] = fingers.values();
      const pace = times.length < 2 ? held.pace : (times[1] - times[0]) / (other - x);
      // Fingers that cross turn nothing around.
      if (pace > 0 && Number.isFinite(pace)) {
        const from = times[0] - (x - box.left) * pace;
        move(from, from + box.width * pace, "touch");
      }
    },
    { signal },
  );
  addEventListener("pointerup", left, { signal });
  // The page scrolls instead.
  addEventListener("pointercancel", left, { signal });
}

function wheel(chart, event) {
  if (!chart.plot || !isOver(chart, event) || event.ctrlKey) {
    return;
  }
  event.preventDefault();
  const { min, max } = chart.plot.scales.x;
  const width = max - min;
  if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    const by = Math.sign(event.deltaX || event.deltaY) * width * 0.1;
    move(min + by, max + by, "wheel");
    return;
  }
  const box = chart.plot.over.getBoundingClientRect();
  const share = (event.clientX - box.left) / box.width;
  zoom(chart, event.deltaY > 0 ? WHEEL_FACTOR : 1 / WHEEL_FACTOR, share, "wheel");
}

/** Makes the range `factor` times as wide; what lies at `share` of the width stays there. */
function zoom(chart, factor, share, name) {
  const { min, max } = chart.plot.scales.x;
  const width = Math.min(Math.max((max - min) * factor, WIDTH_MIN), WIDTH_MAX);
  const fixed = min + (max - min) * share;
  move(fixed - width * share, fixed + width * (1 - share), name);
}

/** To the range before, or, if nobody has zoomed, to a wider one. */
function back(chart) {
  settle();
  if (isZoomed()) {
    history.back();
  } else {
    zoom(chart, KEY_FACTOR, 0.5, "key");
  }
}

function isOver(chart, event) {
  return chart.plot?.over.contains(event.target) ?? false;
}

function key(chart, event) {
  if (!chart.plot || event.ctrlKey || event.metaKey || event.altKey) {
    return;
  }
  const { min, max } = chart.plot.scales.x;
  const by = (max - min) * KEY_SHARE;
  const { idx, left } = chart.plot.cursor;
  const share = left >= 0 && idx !== null ? left / chart.plot.over.clientWidth : 0.5;
  const act = {
    "+": () => zoom(chart, 1 / KEY_FACTOR, share, "key"),
    "=": () => zoom(chart, 1 / KEY_FACTOR, share, "key"),
    "-": () => zoom(chart, KEY_FACTOR, share, "key"),
    ArrowLeft: () => (event.shiftKey ? step(chart, -1) : move(min - by, max - by, "key")),
    ArrowRight: () => (event.shiftKey ? step(chart, 1) : move(min + by, max + by, "key")),
    Home: () => step(chart, -Infinity),
    End: () => step(chart, Infinity),
    Backspace: () => back(chart),
    Escape: () => chart.plot.setCursor({ left: -10, top: -10 }),
  }[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
}

/** Moves the cursor to the next reading, and says what is there. */
function step(chart, by) {
  const { plot, sheet } = chart;
  const { min, max } = plot.scales.x;
  const times = plot.data[0];
  const first = times.findIndex((time) => time >= min);
  const last = times.findLastIndex((time) => time <= max);
  if (first < 0 || last < first) {
    return;
  }
  const { idx, left } = plot.cursor;
  const from = left >= 0 && idx !== null && idx !== undefined ? idx : by > 0 ? first - 1 : last + 1;
  const to = Math.min(Math.max(from + by, first), last);
  plot.setCursor({ left: plot.valToPos(times[to], "x"), top: plot.over.clientHeight / 2 });
  say(spoken(plot, sheet));
}

/** Says something to who does not see the chart. */
function say(text) {
  voice ??= document.body.appendChild(document.createElement("p"));
  voice.className = "unseen";
  voice.setAttribute("aria-live", "polite");
  voice.textContent = text;
}
