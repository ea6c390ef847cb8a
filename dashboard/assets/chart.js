// Draws a sheet of lines, bands and steps with uPlot, which the page has loaded before this module.
//
// Rust decides what is drawn (`src/plot.rs`); this file decides how. What hands do with a chart is in
// `gestures.js`, what the cursor says in `readout.js`. Colours are custom properties of the style
// sheet and are read again when the theme changes.

import { attach, dragStarts, isMoving } from "./gestures.js";
import { readout } from "./readout.js";
import { wall, zoned, zoneName } from "./time.js";

/** Of an axis of values, in px. */
const AXIS_WIDTH = 64;
const HEIGHT = { lines: 320, steps: 170 };
const SYNC = "tidemark";
const BYTES = ["", "Ki", "Mi", "Gi", "Ti", "Pi"];
/** As many colours as the style sheet has; the next series have them again, dashed. */
const COLOURS = 8;
/** Height of the mark where readings are missing, in pixels. */
const MISSING_HEIGHT = 5;

/** How far from the window a chart is drawn: a whole window, so that it is there when it is scrolled to. */
const NEAR = { rootMargin: "100%" };

/** Every chart of the page: they are moved together. */
export const charts = new Set();

/** Draws what is out of view too. */
export function paintAll() {
  for (const chart of charts) {
    chart.paint();
  }
}

addEventListener("beforeprint", paintAll);

/** A chart in an element of the page. */
export class Chart {
  /** @param {HTMLElement} host */
  constructor(host) {
    this.host = host;
    this.plot = null;
    this.sheet = null;
    this.shape = "";
    this.isNear = true;
    this.isDue = false;
    this.sight = new IntersectionObserver((entries) => this.seen(entries.at(-1).isIntersecting), NEAR);
    this.sight.observe(host);
    this.resize = new ResizeObserver(() => this.fit());
    this.resize.observe(host);
    this.repaint = () => this.rebuild();
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.dark.addEventListener("change", this.repaint);
    this.theme = new MutationObserver(this.repaint);
    this.theme.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    host.chart = this;
    charts.add(this);
    this.detach = attach(this);
  }

  /** Draws `sheet` in place of the one before, as soon as somebody may see it; the first one at once. */
  draw(sheet) {
    this.sheet = sheet;
    this.isDue = true;
    if (this.isNear || !this.plot) {
      this.paint();
    }
  }

  /** Draws what is not drawn yet. */
  paint() {
    if (!this.isDue) {
      return;
    }
    this.isDue = false;
    const { sheet } = this;
    const shape = JSON.stringify([
      sheet.stepped,
      sheet.units,
      zoneName(),
      sheet.traces.map((trace) => [trace.label, trace.place, trace.axis, trace.before, trace.low !== null]),
    ]);
    if (this.plot && shape === this.shape) {
      this.plot.batch(() => {
        this.plot.setData(table(sheet), false);
        if (!isMoving()) {
          this.scale(sheet.from, sheet.to);
        }
      });
    } else {
      this.shape = shape;
      this.rebuild();
    }
  }

  /** Notes whether it is in view, or soon may be. */
  seen(isNear) {
    this.isNear = isNear;
    if (isNear) {
      this.paint();
    }
  }

  /** Takes the drawing away and stops listening. */
  destroy() {
    this.detach();
    charts.delete(this);
    this.sight.disconnect();
    this.resize.disconnect();
    this.theme.disconnect();
    this.dark.removeEventListener("change", this.repaint);
    this.plot?.destroy();
    this.plot = null;
    this.sheet = null;
  }

  /** Shows another stretch of what is drawn. */
  scale(min, max) {
    this.plot?.setScale("x", { min, max });
  }

  /** Follows the element's width; an element that was hidden had none to draw in. */
  fit() {
    const width = this.host.clientWidth;
    if (width === 0) {
      return;
    }
    if (!this.plot) {
      this.rebuild();
    } else if (width !== this.plot.width) {
      this.plot.setSize({ width, height: this.plot.height });
    }
  }

  rebuild() {
    if (!this.sheet || this.host.clientWidth === 0) {
      return;
    }
    const before = this.plot;
    this.plot = new uPlot(options(this), table(this.sheet), this.host);
    this.scale(this.sheet.from, this.sheet.to);
    before?.destroy();
  }
}

/** The columns uPlot wants: one time axis for all, null where a line is broken. */
function table(sheet) {
  const tables = sheet.traces.map((trace) => {
    const columns = [Array.from(trace.seconds), column(trace.line)];
    return trace.low === null ? columns : [...columns, column(trace.low), column(trace.high)];
  });
  // A break in one line stays one, though the others have readings there.
  const EXPAND = 2;
  return tables.length === 1
    ? tables[0]
    : uPlot.join(
        tables,
        tables.map((columns) => columns.map(() => EXPAND)),
      );
}

function column(numbers) {
  return Array.from(numbers, (number) => (Number.isNaN(number) ? null : number));
}

function options(chart) {
  const { sheet, host } = chart;
  const colour = palette(host);
  const { series, bands } = lines(sheet, colour);
  const axis = {
    stroke: colour("--muted"),
    font: `11px ${getComputedStyle(host).fontFamily}`,
    grid: { stroke: colour("--grid"), width: 1 },
    ticks: { stroke: colour("--grid"), width: 1, size: 4 },
  };
  const values = sheet.stepped
    ? [{ ...axis, scale: "y", size: AXIS_WIDTH, splits: () => [0, 1], values: () => ["false", "true"] }]
    : sheet.units.map(({ unit, label }, place) => ({
        ...axis,
        scale: scaleOf(place),
        side: place === 0 ? 3 : 1,
        size: labelled,
        grid: place === 0 ? axis.grid : { show: false },
        values: (_, splits) => valueLabels(splits, unit, label),
      }));
  const range = sheet.stepped ? [-0.15, 1.15] : padded;
  return {
    width: host.clientWidth,
    height: sheet.stepped ? HEIGHT.steps : HEIGHT.lines,
    padding: [10, sheet.units.length > 1 ? 0 : 26, 0, 0],
    tzDate: (seconds) => zoned(seconds * 1e3),
    legend: { show: false },
    cursor: {
      sync: { key: SYNC, setSeries: false },
      drag: { x: true, y: false, setScale: false },
      points: { size: 6 },
      bind: { dblclick: () => null, mousedown: dragStarts },
    },
    scales: { x: { time: true }, y: { range }, y2: { range } },
    series,
    bands,
    axes: [{ ...axis, values: timeLabels }, ...values],
    hooks: {
      ...readout(sheet),
      draw: [(plot) => markMissing(plot, sheet, colour)],
      setSelect: [
        (plot) => {
          const { left, width } = plot.select;
          if (width < 4) {
            return;
          }
          const from = plot.posToVal(left, "x");
          const to = plot.posToVal(left + width, "x");
          plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          chart.zoom(from, to, "drag");
        },
      ],
    },
  };
}

/** Each trace's line, and where it has one, the band from its lowest to its highest reading. */
function lines(sheet, colour) {
  const series = [{}];
  const bands = [];
  for (const trace of sheet.traces) {
    const stroke = trace.before ? colour("--muted") : colour(`--series-${(trace.place % COLOURS) + 1}`);
    const scale = scaleOf(trace.axis);
    const path = sheet.stepped ? uPlot.paths.stepped({ align: 1 }) : uPlot.paths.linear();
    const dash = trace.before ? [5, 4] : trace.place >= COLOURS ? [8, 3] : undefined;
    const points = trace.before ? { show: false } : { size: 4 };
    series.push({ label: trace.label, trace, stroke, scale, width: 1.5, dash, paths: path, points });
    if (trace.low !== null) {
      // The edges are drawn: a spike of one reading is a line, not a tip that nobody sees.
      const edge = { stroke: faint(stroke, 0.55), width: 1, scale, points: { show: false }, trace: null };
      series.push({ ...edge, label: "min" }, { ...edge, label: "max" });
      const last = series.length - 1;
      bands.push({ series: [last, last - 1], fill: faint(stroke, 0.18) });
    }
  }
  return { series, bands };
}

function scaleOf(axis) {
  return axis === 0 ? "y" : "y2";
}

/** Marks along the bottom where readings are missing, in rows if several series lack some. */
function markMissing(plot, sheet, colour) {
  const { ctx } = plot;
  const ratio = devicePixelRatio;
  const { left, top, width, height } = plot.bbox;
  ctx.save();
  sheet.traces
    .filter((trace) => trace.missing.length > 0)
    .forEach((trace, row) => {
      for (let at = 0; at < trace.missing.length; at += 2) {
        const from = Math.max(plot.valToPos(trace.missing[at], "x", true), left);
        const to = Math.min(plot.valToPos(trace.missing[at + 1], "x", true), left + width);
        if (to - from >= ratio) {
          ctx.fillStyle = faint(colour("--warn"), 0.1);
          ctx.fillRect(from, top, to - from, height);
          ctx.fillStyle = faint(colour("--warn"), 0.85);
          const mark = MISSING_HEIGHT * ratio;
          ctx.fillRect(from, top + height - (row + 1) * (mark + ratio), to - from, mark);
        }
      }
    });
  ctx.restore();
}

/** Some room above and below, and a flat line in the middle. */
function padded(_plot, low, high) {
  if (low === null || high === null) {
    return [0, 1];
  }
  const room = (high - low) * 0.08 || Math.abs(high) * 0.1 || 1;
  return [low - room, high + room];
}

/** Times of the axis: as short as they may be, with the date where the day changes. */
function timeLabels(_plot, splits, _axis, _space, step) {
  let day = "";
  return splits.map((seconds, place) => {
    const text = wall(seconds * 1e3);
    const date = text.slice(0, 10);
    const isNew = date !== day;
    day = date;
    const zone = place === 0 ? ` ${zoneName()}` : "";
    if (step >= 86400) {
      return zone ? `${date}\n${zone}` : date;
    }
    const time = text.slice(11, step >= 60 ? 16 : step >= 1 ? 19 : 23);
    return isNew ? `${time}\n${date}${zone}` : time;
  });
}

/** The width of an axis of values: the same in all charts, so that they stand below each other, unless a label is longer. */
function labelled(plot, labels, place) {
  const axis = plot.axes[place];
  plot.ctx.font = axis.font[0];
  const widths = (labels ?? []).map((label) => plot.ctx.measureText(label).width / devicePixelRatio);
  return Math.max(AXIS_WIDTH, Math.ceil(Math.max(0, ...widths) + axis.ticks.size + axis.gap));
}

function valueLabels(splits, unit, label) {
  const largest = Math.max(...splits.map(Math.abs));
  let size = 1;
  let prefix = 0;
  if (unit.startsWith("By")) {
    while (largest / size >= 1024 && prefix + 1 < BYTES.length) {
      size *= 1024;
      prefix += 1;
    }
  }
  const step = Math.abs(splits[1] - splits[0]) / size;
  const decimals = step > 0 && step < 1 ? Math.min(9, Math.ceil(-Math.log10(step) - 1e-9)) : 0;
  return splits.map((value, place) => {
    const scaled = value / size;
    const text =
      largest / size >= 1e6
        ? new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 3 }).format(scaled)
        : scaled.toFixed(decimals);
    return place === splits.length - 1 ? `${text} ${BYTES[prefix]}${label}` : text;
  });
}

/** A colour of the style sheet as the canvas understands it. */
function palette(host) {
  const probe = document.createElement("i");
  host.append(probe);
  const resolved = new Map();
  const names = ["--muted", "--grid", "--warn"];
  for (let place = 1; place <= COLOURS; place++) {
    names.push(`--series-${place}`);
  }
  for (const name of names) {
    probe.style.color = `var(${name})`;
    resolved.set(name, getComputedStyle(probe).color);
  }
  probe.remove();
  return (name) => resolved.get(name);
}

/** The same colour, see-through. */
function faint(colour, alpha) {
  const parts = colour.match(/[\d.]+/g);
  return `rgba(${parts.slice(0, 3).join(", ")}, ${alpha})`;
}
