// The page's figures, which `cargo xtask bench dashboard` prints: how soon it is there, how quickly a
// long series is zoomed, what it costs to watch it.
//
//   DASHBOARD_URL   the dashboard
//   LONG_SERIES     the path of a series with many readings
//   LIVE_CHARTS     how many series are watched; there are that many that are written once a second
//   LIVE_SECONDS    how long they are watched

import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { URL_UNDER_TEST, api, drawn, hydrated, launch, post, until } from "./support.mjs";

const LOADS = 7;
/** From ten million readings to a few dozen. */
const STEPS = 18;
const SPIKE = 1e6;

const browser = await launch();
try {
  await loading();
  await zooming(process.env.LONG_SERIES);
  await watching(await livePaths(Number(process.env.LIVE_CHARTS ?? 20)), Number(process.env.LIVE_SECONDS ?? 30));
} finally {
  await browser.close();
}

function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
}

async function fresh(body) {
  const context = await browser.newContext({ viewport: { width: 1360, height: 860 } });
  const page = await context.newPage();
  try {
    return await body(page);
  } finally {
    await context.close();
  }
}

/** With nothing in the browser's cache, each time. */
async function loading() {
  const [firsts, readies] = [[], []];
  let bytes = 0;
  for (let load = 0; load < LOADS; load++) {
    await fresh(async (page) => {
      bytes = 0;
      const session = await page.context().newCDPSession(page);
      await session.send("Network.enable");
      session.on("Network.loadingFinished", (event) => (bytes += event.encodedDataLength));
      await page.goto(URL_UNDER_TEST);
      await hydrated(page);
      const [first, ready] = await page.evaluate(async () => {
        const paint = () => performance.getEntriesByName("first-contentful-paint")[0];
        while (!paint()) {
          await new Promise((resolve) => requestAnimationFrame(resolve));
        }
        return [paint().startTime, performance.getEntriesByName("tidemark-hydrated")[0]?.startTime ?? performance.now()];
      });
      firsts.push(first);
      readies.push(ready);
    });
  }
  console.log(`first content: ${median(firsts).toFixed(0)} ms (bar: 500 ms), median of ${LOADS}, nothing cached`);
  console.log(`interactive: ${median(readies).toFixed(0)} ms (bar: 1500 ms)`);
  console.log(`loaded until then, compressed: ${(bytes / 1024).toFixed(0)} KiB, the page itself with its series included`);
}

/** From the key to the drawing of the answer, all the way in and out again, around a spike of one reading. */
async function zooming(path) {
  assert.ok(path, "set LONG_SERIES");
  const { series } = await api(`/api/v1/series?match=${path}`);
  const [first, last] = [series[0].first, series[0].last].map((time) => Date.parse(time?.timestamp ?? time));
  await post([{ path, timestamp: Math.floor((first + last) / 2), value: SPIKE }]);
  const range = [first, last].map((ms) => new Date(ms).toISOString());
  await fresh(async (page) => {
    await page.goto(`${URL_UNDER_TEST}/?series=${path}&from=${range[0]}&to=${range[1]}&live=0`);
    await hydrated(page);
    await drawn(page);
    await page.locator(".chart").focus();
    const step = (key) =>
      page.evaluate(async (key) => {
        const host = document.querySelector(".chart");
        const before = host.chart.sheet;
        // No faster than the page takes steps into its address.
        await new Promise((resolve) => setTimeout(resolve, 300));
        const begun = performance.now();
        host.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
        while (host.chart.sheet === before) {
          await new Promise((resolve) => {
            const channel = new MessageChannel();
            channel.port1.onmessage = resolve;
            channel.port2.postMessage(null);
          });
        }
        await new Promise((resolve) => requestAnimationFrame(resolve));
        return performance.now() - begun;
      }, key);
    const times = [];
    const highest = () => page.$eval(".chart", ({ chart }) => Math.max(...chart.plot.data.slice(1).flat()));
    assert.equal(await highest(), SPIKE, "the spike is not drawn over the whole range");
    for (const key of [..."+".repeat(STEPS), ..."-".repeat(STEPS)]) {
      times.push(await step(key));
      assert.equal(await highest(), SPIKE, `the spike is not drawn after ${times.length} steps`);
    }
    const worst = Math.max(...times);
    console.log(
      `a zoom step over ${series[0].count} readings: ${median(times).toFixed(0)} ms, ${worst.toFixed(0)} ms at most of ${times.length} (bar: 100 ms); a spike of one reading is drawn at each`,
    );
  });
}

/** Numeric series that are being written. */
function livePaths(count) {
  return until("series that are written", async () => {
    const { series } = await api("/api/v1/series?match=plant/**");
    const numeric = series.filter(({ kind }) => kind === "f64" || kind === "i64");
    return numeric.length >= count && numeric.slice(0, count).map(({ path }) => path);
  });
}

/** Processor time of all of the browser's processes while many charts are live. */
async function watching(paths, seconds) {
  await fresh(async (page) => {
    const query = paths.map((path) => `series=${path}&`).join("");
    await page.goto(`${URL_UNDER_TEST}/?${query}from=-5m&to=now&live=1&charts=each`);
    await hydrated(page);
    await until("a live page", () => page.$("main[data-link=open]"));
    const charts = await until("all charts", () =>
      page.$$eval(".chart canvas", (found) => found.length).then((count) => count >= paths.length && count),
    );
    const before = await busySeconds();
    const begun = performance.now();
    await new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
    const share = (await busySeconds()) - before;
    const elapsed = (performance.now() - begun) / 1_000;
    console.log(
      `${charts} charts live for ${elapsed.toFixed(0)} s: ${((share / elapsed) * 100).toFixed(1)} % of a core in the browser (bar: 20 %; ${availableParallelism()} cores, no graphics processor)`,
    );
  });
}

/** What this browser's processes have used so far: those that descend from this one. */
async function busySeconds() {
  const TICKS = 100;
  const parents = new Map();
  const used = new Map();
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    parents.set(Number(pid), Number(fields[1]));
    used.set(Number(pid), (Number(fields[11]) + Number(fields[12])) / TICKS);
  }
  let sum = 0;
  for (const [pid, seconds] of used) {
    let above = parents.get(pid);
    while (above > 1 && above !== process.pid) {
      above = parents.get(above);
    }
    sum += above === process.pid ? seconds : 0;
  }
  return sum;
}
