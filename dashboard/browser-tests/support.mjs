// What every test needs: the dashboard under test, a browser, and pages that tolerate no error.

import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { chromium } from "playwright-core";

/** The dashboard under test, started by whoever runs the tests (`cargo xtask test` does). */
export const URL_UNDER_TEST = process.env.DASHBOARD_URL?.replace(/\/$/, "");
/** Where pictures of the page are kept; none are when it is not set. */
const SCREENSHOTS = process.env.SCREENSHOTS;
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** How long anything may take: the machine may be busy, and nothing is waited for by time alone. */
export const PATIENCE = Number(process.env.PATIENCE_MS ?? 30_000);

export async function launch() {
  assert.ok(URL_UNDER_TEST, "set DASHBOARD_URL to a running dashboard, as `cargo xtask test` does");
  return chromium.launch({
    executablePath: CHROMIUM,
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/**
 * Runs `body` with a page of its own, and fails on any error that the page reports.
 * `tolerate` names the messages that a test brings about on purpose, `origin` another dashboard than
 * the one under test.
 */
export async function withPage(browser, options, body) {
  const { tolerate = [], origin = URL_UNDER_TEST, ...contextOptions } = options;
  const context = await browser.newContext({
    viewport: { width: 1360, height: 860 },
    reducedMotion: "reduce",
    ...contextOptions,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const errors = [];
  const note = (text) => {
    if (!tolerate.some((pattern) => pattern.test(text))) {
      errors.push(text);
    }
  };
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") {
      note(`${message.type()}: ${message.text()} (${message.location().url})`);
    }
  });
  page.on("pageerror", (error) => note(`uncaught: ${error.stack ?? error}`));
  page.on("request", (request) => {
    if (!request.url().startsWith(origin) && !request.url().startsWith("data:")) {
      note(`a request left the origin: ${request.url()}`);
    }
  });
  try {
    await body(page, context);
    assert.deepEqual(errors, []);
  } catch (error) {
    if (errors.length > 0) {
      error.message += `\nthe page reported:\n${errors.join("\n")}`;
    }
    await picture(page, "failed");
    throw error;
  } finally {
    await context.close();
  }
}

/** Opens the page and waits until it answers to clicks and keys. */
export async function open(page, query = "") {
  await page.goto(`${URL_UNDER_TEST}/${query}`);
  await hydrated(page);
}

export async function hydrated(page) {
  await page.waitForSelector("html[data-hydrated=true]");
}

/** Keeps a picture of the page, if a folder for pictures is given. */
export async function picture(page, name, options = {}) {
  if (SCREENSHOTS) {
    await mkdir(SCREENSHOTS, { recursive: true });
    await page.screenshot({ path: path.join(SCREENSHOTS, `${name}.png`), ...options });
  }
}

/** Asks the HTTP API, past the page. */
export async function api(address) {
  const response = await fetch(`${URL_UNDER_TEST}${address}`);
  const body = await response.json();
  assert.ok(response.ok, `${address}: ${JSON.stringify(body)}`);
  return body;
}

/** Writes readings by the HTTP API. */
export async function post(readings) {
  const response = await fetch(`${URL_UNDER_TEST}/api/v1/readings`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(readings),
  });
  assert.ok(response.ok, await response.text());
}

/** The system under test: its nodes with their processes, and the identities that were made for it. */
export async function system() {
  return JSON.parse(await readFile(process.env.DEMO_JSON, "utf8"));
}

/** Asks until `accept` gives something. */
export async function until(what, accept) {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const found = await accept();
    if (found) {
      return found;
    }
    assert.ok(Date.now() < deadline, `${what} did not happen within ${PATIENCE} ms`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** A numeric series that is being written, with at least `count` readings. */
export async function fedSeries(count = 5) {
  return until("a series that is being written", async () => {
    const { series } = await api("/api/v1/series?match=**");
    const fresh = series.filter(
      (one) =>
        one.kind === "f64" && one.count >= count && Date.now() - Date.parse(lastTime(one)) < 20_000,
    );
    return fresh.sort((a, b) => (a.path < b.path ? -1 : 1))[0];
  });
}

function lastTime(series) {
  return series.last?.timestamp ?? series.last;
}

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Both themes on a desktop and on a phone: what pages are looked at in. */
export const LOOKS = ["light", "dark"].flatMap((colorScheme) => [
  { name: `${colorScheme} desktop`, colorScheme, viewport: { width: 1360, height: 860 } },
  { name: `${colorScheme} phone`, colorScheme, viewport: { width: 390, height: 844 } },
]);

/** Where the page keeps somebody from using it, as far as axe-core can tell. */
export async function objections(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() =>
    window.axe.run(document, { resultTypes: ["violations"] }),
  );
  return violations.map(({ id, help, nodes }) => ({
    id,
    help,
    where: nodes.map((node) => node.html),
  }));
}

/** Fails where axe-core objects to the page, or where it is wider than the screen. */
export async function accessible(page) {
  assert.deepEqual(await objections(page), []);
  const overflow = await page.evaluate(
    () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
  );
  assert.ok(overflow <= 0, `the page is ${overflow} px wider than the screen`);
}

/** How many pixels of the first chart have been drawn on. */
export function inked(page) {
  return page.evaluate(() => {
    const canvas = document.querySelector(".chart canvas");
    if (!canvas) {
      return 0;
    }
    const copy = new OffscreenCanvas(canvas.width, canvas.height);
    const context = copy.getContext("2d", { willReadFrequently: true });
    context.drawImage(canvas, 0, 0);
    const { data } = context.getImageData(0, 0, copy.width, copy.height);
    let count = 0;
    for (let alpha = 3; alpha < data.length; alpha += 4) {
      count += data[alpha] > 0 ? 1 : 0;
    }
    return count;
  });
}

/** Waits until a chart is drawn. */
export async function drawn(page) {
  await page.waitForSelector(".chart canvas", { state: "visible" });
  await until("a drawn chart", async () => (await inked(page)) > 500);
}

/** The cells of the first table of values, without its head. */
export async function tableRows(page, selector = ".values table") {
  return page.$$eval(`${selector} tbody tr`, (rows) =>
    rows.map((row) => [
      Number(row.dataset.ms),
      ...[...row.querySelectorAll("td")].slice(1).map((cell) => cell.textContent),
    ]),
  );
}

/** Answers every request for a range with what `series` gives for its URL. */
export async function rangeAnswers(page, series, more = {}) {
  await page.route("**/api/v1/range?**", (route) => {
    const url = new URL(route.request().url());
    const body = { series: series(url), replica: 1, applied: 7, age_ms: 3, truncated: false, ...more };
    return route.fulfill({ json: body });
  });
}
