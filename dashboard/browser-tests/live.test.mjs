// A live page: what is committed is seen within a second, and an interruption costs nothing.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { api, drawn, launch, open, picture, post, tableRows, until, withPage } from "./support.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

const live = (path) => `?series=${path}&from=-5m&to=now&live=1`;

const put = (path, value, timestamp = Date.now()) => post([{ path, timestamp, value, unit: "Cel" }]);

const tiled = (page) => page.textContent(".tile-value .value");

/** The readings that the chart draws, as pairs of ms and value. */
function readings(page) {
  return page.evaluate(() => {
    const { plot } = document.querySelector(".chart").chart;
    const rows = [...plot.data[0]].map((time, place) => [Math.round(time * 1e3), plot.data[1][place]]);
    return rows.filter(([, value]) => value !== null);
  });
}

/** Writes a reading every 200 ms until it is told to stop. */
function writing(path) {
  const state = { count: 0, stopped: false };
  const done = (async () => {
    while (!state.stopped) {
      await put(path, state.count++);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  })();
  return async () => {
    state.stopped = true;
    await done;
    return state.count;
  };
}

test("a reading is seen within a second of its commit, without being asked for", async () => {
  const path = `test/live/soon-${Date.now()}`;
  for (let value = 0; value < 3; value++) {
    await put(path, value);
  }
  await withPage(browser, {}, async (page) => {
    await open(page, live(path));
    await page.waitForSelector("main[data-link=open]");
    await drawn(page);
    let asked = 0;
    page.on("request", (request) => (asked += request.url().includes("/api/v1/range") ? 1 : 0));
    const delays = [];
    for (let value = 100; value < 110; value++) {
      const seen = page.waitForFunction(
        (value) => {
          const { plot } = document.querySelector(".chart").chart;
          return plot.data[1].at(-1) === value && document.querySelector(".tile-value .value").textContent === String(value);
        },
        value,
        { polling: "raf" },
      );
      await put(path, value);
      const committed = performance.now();
      await seen;
      delays.push(performance.now() - committed);
    }
    delays.sort((a, b) => a - b);
    console.log(`from commit to the screen: ${delays.map((delay) => delay.toFixed(0)).join(", ")} ms`);
    assert.ok(delays[5] < 1_000, `half of them took ${delays[5]} ms`);
    assert.equal(asked, 0, "the page asked for the range again");
  });
});

test("after an interruption the page has what was committed meanwhile, and nothing twice", async () => {
  const path = `test/live/cut-${Date.now()}`;
  await put(path, -1);
  const stop = writing(path);
  const body = async (page) => {
    const sockets = [];
    const refused = { until: 0 };
    await page.routeWebSocket(/\/api\/v1\/tail/, (socket) => {
      if (Date.now() < refused.until) {
        socket.close({ code: 1011 });
        return;
      }
      const server = socket.connectToServer();
      const positions = new Set();
      const seen = { url: new URL(socket.url()), positions, cut: () => socket.close({ code: 1011 }) };
      server.onMessage((message) => {
        positions.add(JSON.parse(message).at(-1).position);
        socket.send(message);
      });
      sockets.push(seen);
    });
    // Only what the tail brings may fill the gap.
    let asked = 0;
    await page.route("**/api/v1/range?**", (route) => {
      asked += 1;
      return route.continue();
    });
    await open(page, live(path));
    await page.waitForSelector("main[data-link=open]");
    await until("some readings", async () => (await readings(page)).length > 8);
    const before = asked;
    for (let round = 1; round <= 3; round++) {
      const cut = sockets.at(-1);
      refused.until = Date.now() + 900;
      cut.cut();
      await page.getByText("The live connection was lost.").waitFor();
      if (round === 1) {
        await picture(page, "interrupted");
      }
      await until("another connection", async () => sockets.length === round + 1);
      assert.ok(cut.positions.has(sockets.at(-1).url.searchParams.get("after")), "it goes on where it was");
      await page.getByText("The live connection was lost.").waitFor({ state: "detached" });
    }
    const count = await stop();
    const rows = await until("the last reading", async () => {
      const rows = await readings(page);
      return rows.at(-1)[1] === count - 1 && rows;
    });
    assert.deepEqual(rows.map(([, value]) => value), Array.from({ length: count + 1 }, (_, place) => place - 1));
    const { series } = await api(`/api/v1/range?match=${path}&from=-10m&to=now&time=ms`);
    assert.deepEqual(rows, series[0].timestamps.map((time, place) => [Math.round(time), series[0].values[place]]));
    assert.equal(asked, before, "the range was asked for again");
    await page.click(".values summary");
    await page.waitForSelector(".values table tbody tr");
    assert.equal((await tableRows(page)).length, count + 1);
  };
  await withPage(browser, {}, body).finally(stop);
});

test("while there is no live connection the page asks instead", async () => {
  const path = `test/live/none-${Date.now()}`;
  await put(path, 1);
  await withPage(browser, { tolerate: [/WebSocket/] }, async (page) => {
    await page.routeWebSocket(/\/api\/v1\/tail/, (socket) => socket.close({ code: 1011 }));
    await open(page, live(path));
    await page.getByText("The live connection was lost.").waitFor();
    await put(path, 2);
    await until("the reading", async () => (await readings(page)).at(-1)?.[1] === 2 && (await tiled(page)) === "2");
  });
});

test("a paused page stands still, and goes on with everything", async () => {
  const path = `test/live/pause-${Date.now()}`;
  await put(path, 1);
  await withPage(browser, {}, async (page) => {
    await open(page, live(path));
    await page.waitForSelector("main[data-link=open]");
    await until("the reading", async () => (await readings(page)).length === 1);
    await page.getByRole("button", { name: "Live" }).click();
    await page.waitForURL((url) => url.searchParams.get("live") === "0");
    await page.waitForSelector("main[data-link=none][aria-busy=false]");
    await put(path, 2);
    await until("the tile goes on", async () => (await tiled(page)) === "2");
    assert.equal((await readings(page)).length, 1);
    await page.getByRole("button", { name: "Live" }).click();
    await until("both readings", async () => (await readings(page)).length === 2);
  });
});

test("a chart out of view is drawn as soon as it is scrolled to", async () => {
  const paths = Array.from({ length: 8 }, (_, place) => `test/live/far-${Date.now()}-${place}`);
  for (const path of paths) {
    await put(path, 1);
  }
  await withPage(browser, {}, async (page) => {
    await open(page, `${live(paths.join("&series="))}&charts=each`);
    await page.waitForSelector("main[data-link=open]");
    const far = page.locator(".chart").nth(7);
    const painted = () => far.evaluate(({ chart }) => chart.plot?.data[1].at(-1));
    await until("all charts", async () => (await page.$$(".chart canvas")).length === 8 && (await painted()) === 1);
    await page.waitForFunction(() => !document.querySelectorAll(".chart")[7].chart.isNear);
    await put(paths[7], 2);
    const known = () => far.evaluate(({ chart }) => chart.sheet.traces[0].line.at(-1));
    await until("the reading", async () => (await known()) === 2);
    // On a page that stands still nothing but the scrolling draws it.
    await page.getByRole("button", { name: "Live" }).click();
    await page.waitForURL((url) => url.searchParams.get("live") === "0");
    await page.waitForSelector("main[data-link=none][aria-busy=false]");
    assert.equal(await painted(), 1);
    await far.scrollIntoViewIfNeeded();
    await until("its drawing", async () => (await painted()) === 2);
  });
});

test("a series that falls silent is marked as late", async () => {
  const path = `test/live/late-${Date.now()}`;
  const now = Date.now();
  for (let ago = 60; ago > 20; ago--) {
    await put(path, 20 + Math.sin(ago / 5), now - ago * 1_000);
  }
  await withPage(browser, {}, async (page) => {
    await open(page, live(path));
    await drawn(page);
    const late = () => page.evaluate(() => [...document.querySelector(".chart").chart.sheet.traces[0].missing]);
    const [from, to] = await until("the mark", async () => (await late()).length === 2 && late());
    assert.equal(Math.round(from * 1e3), now - 21_000);
    await until("it grows", async () => (await late())[1] > to + 1);
    await picture(page, "late");
  });
});
