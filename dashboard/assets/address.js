// The page's address, which is its state: `src/address.rs` reads it, scripts change it here.

/** A gesture of many steps, such as turning the wheel, is one step back in the browser's history. */
const GESTURE_MS = 800;

let gesture = { name: "", at: 0 };

/** What the address says, as a query. */
export function current() {
  return location.search;
}

/** Goes to a view of the page, with the one before a step back. */
export function push(href) {
  history.pushState(null, "", href);
}

/**
 * Changes parts of the address; what is `null` or empty is taken out. Changes of one `name` that
 * follow each other closely are one step of the history.
 */
export function change(parts, name = "") {
  const query = new URLSearchParams(location.search);
  for (const [key, value] of Object.entries(parts)) {
    if (value) {
      query.set(key, value);
    } else {
      query.delete(key);
    }
  }
  const readable = query.toString().replace(/%2F/g, "/").replace(/%3A/g, ":");
  const now = performance.now();
  const goesOn = name !== "" && name === gesture.name && now - gesture.at < GESTURE_MS;
  gesture = { name, at: now };
  const state = name === "" ? null : { zoomed: true };
  history[goesOn ? "replaceState" : "pushState"](state, "", `/?${readable}`);
  dispatchEvent(new PopStateEvent("popstate"));
}

/** Shows an absolute range, in ms, which does not follow the clock. */
export function showRange(from, to, name) {
  const text = (ms) => new Date(Math.round(ms)).toISOString();
  change({ from: text(from), to: text(to), live: "0" }, name);
}

/** Whether the range that is shown was reached by zooming, so that there is a way back. */
export function isZoomed() {
  return history.state?.zoomed === true;
}
