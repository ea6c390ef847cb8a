// Draws a sheet of lines, bands and steps with uPlot, which the page has loaded before this module.
//
// Rust decides what is drawn (`src/plot.rs`); this file decides how. Colours are custom properties
// of the style sheet and are read again when the theme changes. Times are UTC.

const HEIGHT = { lines: 320, steps: 170 };
const SYNC = "tidemark";
const BYTES = ["", "Ki", "Mi", "Gi", "Ti", "Pi"];

/** A chart in an element of the page. */
export class Chart {
  /**
   * @param {HTMLElement} host
   * @param {(from: number, to: number) => void} zoom called with the seconds that were marked
   */
  constructor(host, zoom) {
    this.host = host;
    this.zoom = zoom;
    this.plot = null;
    this.sheet = null;
    this.shape = "";
    this.resize = new ResizeObserver(() => this.fit());
    this.resize.observe(host);
    this.repaint = () => this.rebuild();
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.dark.addEventListener("change", this.repaint);
    this.theme = new MutationObserver(this.repaint);
    this.theme.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  }

  /** Draws `sheet` in place of the one before. */
  draw(sheet) {
    this.sheet = sheet;
    const shape = JSON.stringify([
      sheet.stepped,
      sheet.unit,
      sheet.traces.map((trace) => [trace.label, trace.place, trace.low !== null]),
    ]);
    if (this.plot && shape === this.shape) {
      this.plot.batch(() => {
        this.plot.setData(table(sheet), false);
        this.plot.setScale("x", { min: sheet.from, max: sheet.to });
      });
    } else {
      this.shape = shape;
      this.rebuild();
    }
  }

  /** Takes the drawing away and stops listening. */
  destroy() {
    this.resize.disconnect();
    this.theme.disconnect();
    this.dark.removeEventListener("change", this.repaint);
    this.plot?.destroy();
    this.plot = null;
    this.sheet = null;
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
    this.plot.setScale("x", { min: this.sheet.from, max: this.sheet.to });
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
  const series = [{ value: (_, seconds) => clock(seconds) }];
  const bands = [];
  for (const trace of sheet.traces) {
    const stroke = colour(`--series-${trace.place + 1}`);
    const path = sheet.stepped ? uPlot.paths.stepped({ align: 1 }) : uPlot.paths.linear();
    series.push({ label: trace.label, stroke, width: 1.5, paths: path, points: { size: 4 } });
    if (trace.low !== null) {
      const edge = { stroke: "transparent", width: 0, points: { show: false }, edge: true };
      series.push({ ...edge, label: "min" }, { ...edge, label: "max" });
      const last = series.length - 1;
      bands.push({ series: [last, last - 1], fill: faint(stroke) });
    }
  }
  const readout = element("div", "readout");
  const axis = {
    stroke: colour("--muted"),
    font: `11px ${getComputedStyle(host).fontFamily}`,
    grid: { stroke: colour("--grid"), width: 1 },
    ticks: { stroke: colour("--grid"), width: 1, size: 4 },
  };
  return {
    width: host.clientWidth,
    height: sheet.stepped ? HEIGHT.steps : HEIGHT.lines,
    padding: [10, 26, 0, 0],
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1e3), "Etc/UTC"),
    legend: { show: false },
    cursor: {
      sync: { key: SYNC, setSeries: false },
      drag: { x: true, y: false, setScale: false },
      points: { size: 6 },
      bind: { dblclick: () => null },
    },
    scales: {
      x: { time: true },
      y: sheet.stepped ? { range: [-0.15, 1.15] } : { range: padded },
    },
    series,
    bands,
    axes: [
      { ...axis, values: timeLabels },
      {
        ...axis,
        size: 64,
        splits: sheet.stepped ? () => [0, 1] : undefined,
        values: sheet.stepped
          ? () => ["false", "true"]
          : (_, splits) => valueLabels(splits, sheet.unit, sheet.unitLabel),
      },
    ],
    hooks: {
      ready: [
        (plot) => {
          readout.hidden = true;
          // What the cursor says is a help for the eye; the table below holds the same values.
          readout.setAttribute("aria-hidden", "true");
          plot.over.append(readout);
        },
      ],
      setCursor: [(plot) => read(plot, sheet, readout)],
      setSelect: [
        (plot) => {
          const { left, width } = plot.select;
          if (width < 4) {
            return;
          }
          const from = plot.posToVal(left, "x");
          const to = plot.posToVal(left + width, "x");
          plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          chart.zoom(from, to);
        },
      ],
    },
  };
}

/** Some room above and below, and a flat line in the middle. */
function padded(_plot, low, high) {
  if (low === null || high === null) {
    return [0, 1];
  }
  const room = (high - low) * 0.08 || Math.abs(high) * 0.1 || 1;
  return [low - room, high + room];
}

/** Fills the box beside the cursor with the values under it. */
function read(plot, sheet, readout) {
  const { idx, left } = plot.cursor;
  if (idx === null || idx === undefined || left < 0) {
    readout.hidden = true;
    return;
  }
  const lines = [element("time", "", clock(plot.data[0][idx]))];
  plot.series.forEach((series, place) => {
    if (place === 0 || series.edge) {
      return;
    }
    const value = nearest(plot, place, idx);
    const text = value === null ? "–" : sheet.stepped ? String(value > 0) : number(value);
    const line = element("p", "", text);
    line.style.color = series._stroke ?? "";
    line.append(element("span", "", ` ${series.label}`));
    lines.push(line);
  });
  readout.replaceChildren(...lines);
  readout.hidden = false;
  const isRight = left > plot.over.clientWidth / 2;
  readout.style.left = isRight ? "" : `${left + 12}px`;
  readout.style.right = isRight ? `${plot.over.clientWidth - left + 12}px` : "";
}

/** The value of a series at a time at which perhaps only others have one. */
function nearest(plot, place, idx) {
  const values = plot.data[place];
  for (let step = 0; step < 50; step++) {
    const value = values[idx - step];
    if (value !== undefined) {
      return value;
    }
  }
  return null;
}

/** Times of the axis: as short as they may be, with the date where the day changes. */
function timeLabels(plot, splits, _axis, _space, step) {
  let day = "";
  return splits.map((seconds) => {
    const text = new Date(seconds * 1e3).toISOString();
    const date = text.slice(0, 10);
    const isNew = date !== day;
    day = date;
    if (step >= 86400) {
      return date;
    }
    const time = text.slice(11, step >= 60 ? 16 : step >= 1 ? 19 : 23);
    return isNew ? `${time}\n${date} UTC` : time;
  });
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

function clock(seconds) {
  const text = new Date(seconds * 1e3).toISOString();
  return `${text.slice(0, 10)} ${text.slice(11, 23).replace(".000", "")}`;
}

function number(value) {
  return String(Number(value.toPrecision(6)));
}

/** A colour of the style sheet as the canvas understands it. */
function palette(host) {
  const probe = element("i");
  host.append(probe);
  const resolved = new Map();
  const colour = (name) => {
    if (!resolved.has(name)) {
      probe.style.color = `var(${name})`;
      resolved.set(name, getComputedStyle(probe).color);
    }
    return resolved.get(name);
  };
  for (const name of ["--muted", "--grid"]) {
    colour(name);
  }
  for (let place = 1; place <= 8; place++) {
    colour(`--series-${place}`);
  }
  probe.remove();
  return colour;
}

/** The same colour, see-through. */
function faint(colour) {
  const parts = colour.match(/[\d.]+/g);
  return `rgba(${parts.slice(0, 3).join(", ")}, 0.18)`;
}

function element(name, className = "", text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}
