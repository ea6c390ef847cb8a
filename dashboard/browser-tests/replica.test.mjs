// The replicas that serve a live page go away, one after the other, and nobody who looks at it loses a reading.
// Last of all tests over the running system: a node of it is killed for good.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { api, drawn, launch, open, picture, post, system, until, withPage } from "./support.mjs";

let browser;
let nodes;
before(async () => {
  browser = await launch();
  ({ nodes } = await system());
});
after(() => browser?.close());

/** Writes 0, 1, 2… every 100 ms until it is told to stop; one whose fate is unknown is written again. */
function writing(path) {
  const state = { count: 0, stopped: false };
  const written = (reading) => post([reading]).then(
    () => true,
    () => false,
  );
  const done = (async () => {
    while (!state.stopped) {
      const reading = { path, timestamp: Date.now(), value: state.count };
      await until("a written reading", () => written(reading));
      state.count += 1;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  })();
  state.stop = async () => {
    state.stopped = true;
    await done;
    return state.count;
  };
  return state;
}

/** The values that the chart draws. */
const values = (page) =>
  page.evaluate(() => {
    const { plot } = document.querySelector(".chart").chart;
    return [...plot.data[1]].filter((value) => value !== null);
  });

test("each replica in turn is stopped, and one is killed: the page goes on and lacks nothing", async () => {
  const path = `test/replica/${Date.now()}`;
  const writer = writing(path);
  const body = async (page) => {
    await until("a few readings", async () => writer.count > 5);
    let loads = 0;
    page.on("load", () => (loads += 1));
    await open(page, `?series=${path}&from=-5m&to=now&live=1`);
    await page.waitForSelector("main[data-link=open]");
    await drawn(page);
    const goesOn = async (what) => {
      // Committed from now on.
      const written = writer.count;
      await until(`readings on the page ${what}`, async () => (await values(page)).at(-1) > written + 5);
    };
    for (const { id, pid } of nodes) {
      process.kill(pid, "SIGSTOP");
      try {
        await goesOn(`while node ${id} is stopped`);
      } finally {
        process.kill(pid, "SIGCONT");
      }
      await goesOn(`after node ${id} was stopped`);
    }
    // Whoever leads by now.
    const { nodes: known } = await api("/api/v1/cluster");
    const { id } = known.find(({ role }) => role === "leader");
    process.kill(nodes.find((node) => node.id === id).pid, "SIGKILL");
    await goesOn(`after node ${id} was killed`);
    await picture(page, "replica killed");
    const count = await writer.stop();
    const shown = await until("the last reading", async () => {
      const shown = await values(page);
      return shown.at(-1) === count - 1 && shown;
    });
    assert.deepEqual(shown, Array.from({ length: count }, (_, value) => value));
    const { series } = await api(`/api/v1/range?match=${path}&from=-10m&to=now`);
    assert.deepEqual(series[0].values, shown);
    await page.waitForSelector("main[data-link=open]");
    assert.equal(loads, 1, "the page was loaded again");
  };
  // What was asked of a node just when it went away may fail, and is asked again.
  await withPage(browser, { tolerate: [/status of 50[34]/] }, body).finally(writer.stop);
});
