// The page over a running system: what a person does with it.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  URL_UNDER_TEST,
  api,
  drawn,
  fedSeries,
  hydrated,
  inked,
  launch,
  objections,
  open,
  picture,
  rangeAnswers,
  tableRows,
  until,
  withPage,
} from "./support.mjs";

let browser;
let fed;
before(async () => {
  browser = await launch();
  fed = await fedSeries();
});
after(() => browser?.close());

const query = (series, rest = "from=-15m&to=now&live=1") =>
  `?${[].concat(series).map((path) => `series=${path}&`).join("")}${rest}`;

test("tree, values and state are readable without any script", async () => {
  await withPage(browser, { javaScriptEnabled: false }, async (page) => {
    await page.goto(`${URL_UNDER_TEST}/${query(fed.path)}`);
    assert.match(await page.textContent(`.tree [data-path="${fed.path}"]`), /\S/);
    assert.match(await page.textContent(".tile-value .value"), /\d/);
    assert.match(await page.textContent(".cluster"), /leader/);
    assert.equal(await page.inputValue("input[name=from]"), "-15m");
  });
});

test("the filter finds series and opens the tree to them", async () => {
  await withPage(browser, {}, async (page) => {
    await open(page);
    const words = fed.path.split("/").slice(-2);
    await page.fill("#filter", words.join(" ").toUpperCase());
    await page.waitForSelector(`.tree [data-path="${fed.path}"]`);
    const paths = await page.$$eval(".tree [data-path]", (rows) => rows.map((row) => row.dataset.path));
    for (const path of paths) {
      assert.ok(words.every((word) => path.includes(word)), `${path} does not match ${words}`);
    }
    await page.fill("#filter", "no such series anywhere");
    await page.getByText("No series matches").waitFor();
    assert.equal(await page.$$eval(".tree .row", (rows) => rows.length), 0);
  });
});

test("a picked series is in the address, in the tree, and drawn", async () => {
  await withPage(browser, {}, async (page) => {
    await open(page);
    await page.fill("#filter", fed.path);
    await page.click(`.tree [data-path="${fed.path}"]`);
    await page.waitForURL((url) => url.searchParams.getAll("series").includes(fed.path));
    await page.waitForSelector(`.tree [data-path="${fed.path}"][aria-selected=true]`);
    await drawn(page);
    assert.match(await page.textContent(".summaries"), /\d+ (readings?|buckets?) from .* to /);
    await page.fill("#filter", "");
    await picture(page, "series");
    await page.click(".tile .remove");
    await page.waitForURL((url) => url.searchParams.getAll("series").length === 0);
    await page.getByRole("heading", { name: "Choose a series" }).waitFor();
  });
});

test("the tree is worked by keys alone", async () => {
  await withPage(browser, {}, async (page) => {
    await open(page);
    await page.fill("#filter", fed.path);
    await page.press("#filter", "ArrowDown");
    await page.waitForFunction(() => document.activeElement?.closest(".tree") !== null);
    await page.keyboard.press("End");
    await page.waitForFunction(() => {
      const rows = document.querySelectorAll(".tree .row");
      return document.activeElement === rows[rows.length - 1];
    });
    await page.keyboard.press("Enter");
    await page.waitForURL((url) => url.searchParams.getAll("series").length === 1);
    await page.fill("#filter", "");
    const group = page.locator(".tree .group").first();
    const before = await group.getAttribute("aria-expanded");
    await page.press("#filter", "ArrowDown");
    await page.keyboard.press("Home");
    await page.locator(".tree .row").first().and(page.locator(":focus")).waitFor();
    const first = await page.locator(".tree .row").first().getAttribute("aria-expanded");
    if (first !== null) {
      await page.keyboard.press(first === "true" ? "ArrowLeft" : "ArrowRight");
      await until("the group turned", async () => (await group.getAttribute("aria-expanded")) !== before);
    }
  });
});

test("the table holds what the API answers, reading by reading", async () => {
  await withPage(browser, {}, async (page) => {
    // A range that has readings and gets no more: the system may have started a moment ago.
    const { from, to, answer } = await until("readings of some seconds ago", async () => {
      const to = new Date(Date.now() - 5_000).toISOString();
      const from = new Date(Date.now() - 65_000).toISOString();
      const answer = await api(`/api/v1/range?match=${fed.path}&from=${from}&to=${to}&time=ms`);
      return answer.series[0]?.timestamps.length > 3 && { from, to, answer };
    });
    await open(page, query(fed.path, `from=${from}&to=${to}&live=0`));
    await drawn(page);
    await page.click(".values summary");
    await page.waitForSelector(".values table tbody tr");
    const [series] = answer.series;
    const expected = series.timestamps.map((time, place) => [
      Math.round(time),
      Number(series.values[place]),
    ]);
    const rows = (await tableRows(page)).map(([time, value]) => [time, Number(value)]);
    assert.deepEqual(rows, expected);
  });
});

test("another range is asked for, and is in the address", async () => {
  await withPage(browser, {}, async (page) => {
    await open(page, query(fed.path));
    await drawn(page);
    const asked = page.waitForRequest((request) => {
      const url = new URL(request.url());
      const width = Date.parse(url.searchParams.get("to")) - Date.parse(url.searchParams.get("from"));
      return url.pathname === "/api/v1/range" && width >= 6 * 3_600_000;
    });
    await page.getByRole("link", { name: "6h", exact: true }).click();
    await page.waitForURL((url) => url.searchParams.get("from") === "-6h");
    await asked;
    await page.waitForSelector("main[aria-busy=false]");
    assert.equal(await page.inputValue("input[name=from]"), "-6h");

    await page.fill("input[name=from]", "now-2h");
    await page.fill("input[name=to]", "now-1h");
    await page.click("text=Apply");
    await page.waitForURL((url) => url.searchParams.get("to") === "now-1h");
    await page.waitForSelector("main[aria-busy=false]");
    await page.goBack();
    await page.waitForURL((url) => url.searchParams.get("from") === "-6h");
    await until("the typed time went back", async () =>
      (await page.inputValue("input[name=from]")) === "-6h",
    );

    await page.fill("input[name=from]", "half past nine");
    await page.click("text=Apply");
    await page.getByText("is not a time: write").waitFor();
  });
});

test("marking a stretch of the chart zooms into it", async () => {
  await withPage(browser, {}, async (page) => {
    await open(page, query(fed.path));
    await drawn(page);
    const box = await page.locator(".chart .u-over").boundingBox();
    await page.mouse.move(box.x + box.width * 0.6, box.y + 50);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.9, box.y + 60, { steps: 5 });
    await page.mouse.up();
    await page.waitForURL((url) => url.searchParams.get("live") === "0");
    const { searchParams } = new URL(page.url());
    const width = Date.parse(searchParams.get("to")) - Date.parse(searchParams.get("from"));
    assert.ok(Math.abs(width / 900_000 - 0.3) < 0.02, `marked 30 %, got ${width} ms`);
    await page.getByRole("button", { name: "Live" }).click();
    await page.waitForURL((url) => url.searchParams.get("live") === "1");
  });
});

test("a live page goes on by itself, on the same canvas", async () => {
  await withPage(browser, {}, async (page) => {
    await open(page, query(fed.path, "from=-5m&to=now&live=1"));
    await drawn(page);
    await page.evaluate(() => {
      document.querySelector(".chart canvas").dataset.kept = "yes";
    });
    await page.click(".values summary");
    await page.waitForSelector(".values table tbody tr");
    const lastRow = async () => (await tableRows(page)).at(-1)?.[0];
    const at = () => page.getAttribute(".source", "data-at").then(Number);
    const [row, time] = [await lastRow(), await at()];
    await until("newer readings", async () => (await lastRow()) > row && (await at()) > time + 1_500);
    assert.equal(await page.getAttribute(".chart canvas", "data-kept"), "yes");
    assert.match(await page.textContent(".source"), /Answered by node \d+ at position \d+/);
  });
});

test("a page that is not live stands still", async () => {
  await withPage(browser, {}, async (page) => {
    await open(page, query(fed.path, "from=-5m&to=now&live=0"));
    await drawn(page);
    const before = await page.getAttribute(".source", "data-at");
    // The tiles go on: two of their answers mean that two refreshes have passed.
    for (let answer = 0; answer < 2; answer++) {
      await page.waitForResponse((response) => response.url().includes("/api/v1/last"));
    }
    assert.equal(await page.getAttribute(".source", "data-at"), before);
  });
});

test("the address restores the view", async () => {
  await withPage(browser, {}, async (page) => {
    const { series } = await api("/api/v1/series?match=**");
    const other = series.find((one) => one.kind !== "text" && one.path !== fed.path);
    const address = query([fed.path, other.path], "from=-1h&to=now&live=0");
    await open(page, address);
    await drawn(page);
    await page.reload();
    await hydrated(page);
    await drawn(page);
    assert.equal(new URL(page.url()).search, address);
    const tiles = await page.$$eval(".tile", (tiles) => tiles.map((tile) => tile.dataset.path));
    assert.deepEqual(tiles, [fed.path, other.path]);
    assert.equal(await page.getAttribute(".live", "aria-pressed"), "false");
  });
});

test("light and dark follow the system, and the switch overrules it", async () => {
  await withPage(browser, { colorScheme: "dark" }, async (page) => {
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await open(page, query(fed.path));
    await drawn(page);
    assert.equal(await ground(), "rgb(14, 19, 21)");
    await picture(page, "dark");
    await page.click(".theme label:has-text('light')");
    await until("the light colours", async () => (await ground()) === "rgb(244, 246, 247)");
    const html = await page.request.get(page.url());
    assert.match(await html.text(), /<html[^>]*data-theme="light"/);
    await page.reload();
    await hydrated(page);
    assert.equal(await ground(), "rgb(244, 246, 247)");
    assert.ok(await page.isChecked(".theme input[value=light]"));
  });
});

test("a range without readings says where they are", async () => {
  await withPage(browser, {}, async (page) => {
    await open(page, query(fed.path, "from=1999-01-01&to=1999-01-02&live=0"));
    await page.getByText("No readings in this range.").waitFor();
    await picture(page, "empty");
    await page.getByRole("link", { name: "Show all readings" }).click();
    await page.waitForURL((url) => url.searchParams.get("from") === "all");
    await drawn(page);
  });
});

test("an unknown series is named and can be removed; the others are drawn", async () => {
  await withPage(browser, { tolerate: [/404/] }, async (page) => {
    await open(page, query([fed.path, "no/such/series"]));
    await page.getByText("no/such/series cannot be shown.").waitFor();
    await drawn(page);
    await picture(page, "unknown-series");
    await page.getByRole("link", { name: "Remove it" }).click();
    await page.waitForURL((url) => url.searchParams.getAll("series").length === 1);
    await page.getByText("cannot be shown").waitFor({ state: "detached" });
  });
});

test("while the store does not answer, the drawing stays and the page says why", async () => {
  await withPage(browser, { tolerate: [/Failed to load resource/] }, async (page) => {
    await open(page, query(fed.path));
    await drawn(page);
    await page.route("**/api/**", (route) => route.abort());
    await page.getByText("The dashboard's server does not answer.").waitFor();
    assert.ok((await inked(page)) > 500, "the drawing is gone");
    assert.match(await page.textContent(".tile-value .value"), /\d/);
    await picture(page, "no-answer");
    await page.unroute("**/api/**");
    await page.getByText("does not answer.").waitFor({ state: "detached" });
  });
});

test("an answer to a question that is no longer asked is dropped", async () => {
  await withPage(browser, {}, async (page) => {
    await open(page, query(fed.path, "from=-5m&to=now&live=0"));
    await drawn(page);
    let release;
    const released = new Promise((resolve) => (release = resolve));
    await page.route("**/api/v1/range?**", async (route) => {
      const url = new URL(route.request().url());
      const width = Date.parse(url.searchParams.get("to")) - Date.parse(url.searchParams.get("from"));
      if (width > 2 * 3_600_000) {
        await released;
      }
      await route.continue();
    });
    const held = page.waitForRequest((request) => request.url().includes("/api/v1/range"));
    await page.getByRole("link", { name: "24h", exact: true }).click();
    await held;
    await page.waitForSelector("main[aria-busy=true]");
    assert.ok((await inked(page)) > 500, "the old drawing is gone while the new one is awaited");
    await page.getByRole("link", { name: "15m", exact: true }).click();
    await page.waitForSelector("main[aria-busy=false]");
    await page.getByRole("button", { name: "Live" }).click();
    await page.waitForSelector("main[aria-busy=false]");
    const before = await page.getAttribute(".source", "data-at");
    const late = page.waitForResponse((response) => response.url().includes("/api/v1/range"));
    release();
    await late;
    // The answer is read in the page before it is told here; two more of others are later still.
    for (let answer = 0; answer < 2; answer++) {
      await page.waitForResponse((response) => response.url().includes("/api/v1/last"));
    }
    assert.equal(await page.getAttribute(".source", "data-at"), before);
    assert.equal(await page.inputValue("input[name=from]"), "-15m");
  });
});

test("a stale replica is named", async () => {
  await withPage(browser, {}, async (page) => {
    await rangeAnswers(page, () => [line(() => 1)], { age_ms: 61_000 });
    await open(page, query(fed.path, RANGE));
    await page.getByText("Node 1 may lack the newest readings.").waitFor();
  });
});

const RANGE = "from=2026-01-01T00:00:00Z&to=2026-01-01T00:10:00Z&live=0";
const START = Date.parse("2026-01-01T00:00:00Z");

/** Ten minutes of readings, one a second; none where `value` gives none. */
function line(value, kind = "f64", unit = "Cel", path = fed.path) {
  const timestamps = [];
  const values = [];
  for (let second = 0; second < 600; second++) {
    if (value(second) !== undefined) {
      timestamps.push(START + second * 1_000);
      values.push(value(second));
    }
  }
  return { path, kind, unit, timestamps, values };
}

/** For each tenth of the chart's width, whether a line in the first series' colour crosses it. */
function crossed(page) {
  return page.evaluate(() => {
    const canvas = document.querySelector(".chart canvas");
    const over = document.querySelector(".chart .u-over").getBoundingClientRect();
    const scale = canvas.width / canvas.getBoundingClientRect().width;
    const left = Math.round((over.left - canvas.getBoundingClientRect().left) * scale);
    const width = Math.floor(over.width * scale);
    const probe = document.createElement("i");
    probe.style.color = "var(--series-1)";
    document.body.append(probe);
    const [red, green, blue] = getComputedStyle(probe).color.match(/\d+/g).map(Number);
    probe.remove();
    const copy = new OffscreenCanvas(canvas.width, canvas.height);
    const context = copy.getContext("2d", { willReadFrequently: true });
    context.drawImage(canvas, 0, 0);
    const { data } = context.getImageData(left, 0, width, canvas.height);
    const tenths = Array(10).fill(false);
    for (let pixel = 0; pixel < data.length; pixel += 4) {
      const near = (at, colour) => Math.abs(data[pixel + at] - colour) < 40;
      if (data[pixel + 3] > 200 && near(0, red) && near(1, green) && near(2, blue)) {
        tenths[Math.floor((((pixel / 4) % width) / width) * 10)] = true;
      }
    }
    return tenths;
  });
}

test("a gap in the readings is a gap in the line", async () => {
  await withPage(browser, {}, async (page) => {
    // The readings of the third and fourth tenth are missing, and a bit on both sides.
    const silent = (second) => second >= 110 && second < 250;
    const other = "made/up/other";
    const broken = (second) => (silent(second) ? undefined : 20 + Math.sin(second / 9));
    await rangeAnswers(page, (url) =>
      // Another line on the same axis has readings throughout, between the times of the first.
      url.searchParams.get("match") === other
        ? [{ ...line(() => 40, "f64", "Cel", other), timestamps: line(() => 0).timestamps.map((time) => time + 500) }]
        : [line(broken)],
    );
    await page.route("**/api/v1/last?**", (route) => route.fulfill({ json: { readings: [], replica: 1, applied: 1 } }));
    await open(page, query([fed.path, other], RANGE));
    await drawn(page);
    assert.deepEqual(await crossed(page), [true, true, false, false, true, true, true, true, true, true]);
    await picture(page, "gap");
  });
});

test("buckets are drawn with their band and listed with their edges", async () => {
  await withPage(browser, {}, async (page) => {
    const starts = Array.from({ length: 60 }, (_, place) => START + place * 10_000);
    await rangeAnswers(page, (url) =>
      url.searchParams.has("every")
        ? [
            {
              path: fed.path,
              kind: "f64",
              unit: "Cel",
              bucket_starts: starts,
              mean: starts.map((_, place) => 20 + place / 10),
              min: starts.map((_, place) => 18 + place / 10),
              max: starts.map((_, place) => 23 + place / 10),
            },
          ]
        : [line(() => 1)],
      { truncated: true },
    );
    // More readings than were sent: the page asks again, in buckets.
    await open(page, query(fed.path, RANGE));
    await drawn(page);
    await page.click(".values summary");
    await page.waitForSelector(".values table tbody tr");
    assert.deepEqual((await tableRows(page)).at(-1), [starts.at(-1), "25.9", "23.9", "28.9"]);
    assert.match(await page.textContent(".summaries"), /between 18 and 28.9 °C/);
    await picture(page, "band");
  });
});

test("states are steps, text is a table of changes", async () => {
  await withPage(browser, {}, async (page) => {
    const answers = {
      flag: line((second) => second % 200 < 100, "bool", "", "made/up/flag"),
      text: line((second) => (second < 300 ? "running" : "tool change"), "text", "", "made/up/text"),
    };
    await rangeAnswers(page, (url) => [answers[url.searchParams.get("match").split("/").pop()]]);
    await page.route("**/api/v1/last?**", (route) => route.fulfill({ json: { readings: [], replica: 1, applied: 1 } }));
    await open(page, query(["made/up/flag", "made/up/text"], RANGE));
    await drawn(page);
    const rows = await tableRows(page, "table.changes");
    assert.deepEqual(rows, [
      [START + 300_000, "tool change", "5 min"],
      [START, "running", "5 min"],
    ]);
    await picture(page, "states-and-text");
  });
});

test("a phone shows the whole page without scrolling sideways", async () => {
  await withPage(browser, { viewport: { width: 390, height: 844 }, hasTouch: true }, async (page) => {
    await open(page, query(fed.path));
    await drawn(page);
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 390, `the page is ${width} px wide`);
    await picture(page, "phone", { fullPage: true });
    await page.locator("#tree").waitFor({ state: "hidden" });
    await page.getByRole("button", { name: "Series", exact: true }).click();
    await page.locator("#tree").waitFor({ state: "visible" });
  });
});

for (const [name, colorScheme, address, viewport] of [
  ["overview", "light", () => "", undefined],
  ["chart, light", "light", () => query(fed.path), undefined],
  ["chart, dark", "dark", () => query(fed.path), undefined],
  ["chart, phone", "light", () => query(fed.path), { width: 390, height: 844 }],
  ["wrong range", "dark", () => query(fed.path, "from=soon&to=now"), undefined],
]) {
  test(`axe finds nothing to object to: ${name}`, async () => {
    await withPage(browser, { colorScheme, ...(viewport && { viewport }) }, async (page) => {
      await open(page, address());
      if (name.startsWith("chart")) {
        await drawn(page);
        await page.click(".values summary");
        await page.waitForSelector(".values table tbody tr");
      }
      if (name === "wrong range") {
        assert.equal(await page.getByText("Asking for the readings").count(), 0);
      }
      await picture(page, `axe ${name}`);
      assert.deepEqual(await objections(page), []);
    });
  });
}
