// Times as the reader wants them: in UTC, in the browser's zone, or in a named one.

const UTC = "UTC";

let zone = UTC;
let parts = null;

/** The browser's own zone. */
export function localZone() {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || UTC;
}

/** Sets the zone: empty for UTC, `local`, or a name. What is no zone is UTC. */
export function setZone(name) {
  const wanted = name === "local" ? localZone() : name || UTC;
  if (wanted === zone) {
    return;
  }
  try {
    parts = format(wanted);
    zone = wanted;
  } catch {
    zone = UTC;
  }
}

/** The zone's name, for people. */
export function zoneName() {
  return zone;
}

/** Date and time of day with ms, `2026-11-20 10:00:00.000`. */
export function wall(ms) {
  if (zone === UTC) {
    return new Date(ms).toISOString().replace("T", " ").slice(0, -1);
  }
  const at = Object.fromEntries(parts.formatToParts(ms).map(({ type, value }) => [type, value]));
  const year = at.year.padStart(4, "0");
  return `${year}-${at.month}-${at.day} ${at.hour}:${at.minute}:${at.second}.${at.fractionalSecond}`;
}

/** Date and time of day, with ms only where there are any. */
export function dateTime(ms) {
  return wall(ms).replace(/\.000$/, "");
}

/** A text of the address as it is typed: an absolute time as the clocks of the zone show it. */
export function shown(text, name) {
  setZone(name);
  const ms = /^\d{4}-\d\d-\d\dT.*Z$/.test(text) ? Date.parse(text) : NaN;
  return zone === UTC || Number.isNaN(ms) ? text : dateTime(ms);
}

/** What was typed as a text of the address: a time that names no zone is one of the zone's clocks. */
export function typed(text, name) {
  setZone(name);
  const bare = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?))?$/.exec(text);
  if (zone === UTC || !bare) {
    return text;
  }
  const clock = Date.parse(`${bare[1]}T${bare[2] ?? "00:00"}Z`);
  // Twice, as the offset may be another one on the other side of a change of clocks.
  let ms = clock - offset(clock);
  ms = clock - offset(ms);
  return new Date(ms).toISOString();
}

/** The moment whose UTC fields are what the zone's clocks show: what uPlot divides an axis by. */
export function zoned(ms) {
  const date = new Date(ms);
  return uPlot.tzDate(date, zone === UTC ? "Etc/UTC" : zone);
}

function offset(ms) {
  return Date.parse(`${wall(ms).replace(" ", "T")}Z`) - ms;
}

function format(timeZone) {
  return new Intl.DateTimeFormat("en-GB", {
    timeZone,
    calendar: "gregory",
    numberingSystem: "latn",
    hourCycle: "h23",
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    fractionalSecondDigits: 3,
  });
}
