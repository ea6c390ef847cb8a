// Boards over a running system: looked at, composed with and without script, changed by two at once.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { LOOKS, URL_UNDER_TEST, accessible, api, fedSeries, launch, picture, post, until, withPage } from "./support.mjs";

let browser;
let fed;
const made = new Set();
before(async () => {
  browser = await launch();
  fed = await fedSeries();
});
after(async () => {
  await browser?.close();
  for (const name of made) {
    await remove(name);
  }
});

const BOARDS = `${URL_UNDER_TEST}/boards`;
const place = (name) => `/api/v1/boards/${name}`;

/** Writes a board past the page; gives its revision. */
async function write(name, board, condition = { "if-none-match": "*" }) {
  const headers = { "content-type": "application/json", ...condition };
  const body = JSON.stringify(board);
  const response = await fetch(URL_UNDER_TEST + place(name), { method: "PUT", headers, body });
  const answer = await response.json();
  assert.ok(response.ok, JSON.stringify(answer));
  made.add(name);
  return answer;
}

async function remove(name) {
  const { revision } = await api(`${place(name)}?consistency=linearizable`).catch(() => ({}));
  const headers = { "if-match": `"${revision}"` };
  await fetch(URL_UNDER_TEST + place(name), { method: "DELETE", headers });
}

/** Fills the last row of the editor. */
async function fill(page, fields) {
  for (const [name, value] of Object.entries(fields)) {
    const field = page.locator(`[name=${name}]`).last();
    await (name === "trend" ? field.selectOption(value) : field.fill(value));
  }
}

const act = (page, text) => page.click(`button[value=${text}]`);

const tile = (page, path) => page.locator(`.tile[data-path="${path}"]`);

for (const javaScriptEnabled of [true, false]) {
  const how = javaScriptEnabled ? "with" : "without";
  test(`a board is composed, shown and removed ${how} script`, async () => {
    await withPage(browser, { javaScriptEnabled }, async (page) => {
      await page.goto(BOARDS);
      const title = `Hall ${how} script`;
      await page.fill("input[name=title]", title);
      await page.click("text=Create");
      await page.waitForURL("**/boards/hall-*/edit*");
      const name = new URL(page.url()).pathname.split("/")[2];
      made.add(name);
      await fill(page, { match: fed.path, label: "The first", trend: "15m" });
      await act(page, "add");
      await fill(page, { match: "plant/**/temperature", low: "-300" });
      await act(page, "add");
      await fill(page, { match: "host/none" });
      await act(page, "up-2");
      await act(page, "remove-2");
      const rows = () => page.$$eval("[name=match]", (fields) => fields.map((field) => field.value));
      assert.deepEqual(await rows(), [fed.path, "host/none"]);
      await act(page, "remove-1");
      await act(page, "add");
      await fill(page, { match: "plant/**/temperature", low: "-300", high: "1000" });
      assert.deepEqual(await rows(), [fed.path, "plant/**/temperature"]);
      await act(page, "save");
      await page.waitForURL(`**/boards/${name}*`);
      assert.match(await page.textContent("h2"), new RegExp(title));
      assert.match(await tile(page, fed.path).first().textContent(), /The first/);
      const temperatures = await page.$$("[data-state=well][data-path$='/temperature']");
      assert.ok(temperatures.length >= 2, `${temperatures.length} temperatures`);
      assert.match(await page.textContent(".tile[data-path$='/temperature'] .tile-state"), /300 to 1000 °C/);
      await page.goto(`${BOARDS}/${name}/edit`);
      await page.click(".removal summary");
      await page.click("text=Remove it for good");
      await page.waitForURL("**/boards?since=*", { waitUntil: "commit" }).catch(() => page.waitForURL("**/boards"));
      assert.doesNotMatch(await page.textContent("main .offers"), new RegExp(title));
    });
  });
}

test("values, ages and trends change by themselves and lead into Explore", async () => {
  await write("live", { title: "Live", tiles: [{ match: fed.path, trend: "15m" }] });
  await withPage(browser, {}, async (page) => {
    await page.goto(`${BOARDS}/live?since=0-1`);
    await until("the address without what only one's own page needs", () => !page.url().includes("since"));
    const value = () => tile(page, fed.path).locator(".value").textContent();
    const line = () => tile(page, fed.path).locator(".mean").getAttribute("d");
    const [first, drawn] = [await value(), await line()];
    await page.focus(".tile a");
    await until("another value", async () => (await value()) !== first);
    await until("a trend that goes on", async () => (await line()) !== drawn);
    assert.equal(await page.evaluate(() => document.activeElement.tagName), "A");
    await page.keyboard.press("Enter");
    await page.waitForURL(/\/\?series=/, { waitUntil: "commit" });
    assert.equal(new URL(page.url()).searchParams.get("series"), fed.path);
    assert.equal(new URL(page.url()).searchParams.get("from"), "-15m");
  });
});

test("a value beyond its limits is told in colour, sign and words, as soon as it is", async () => {
  const path = "test/boards/level";
  const put = (value) => post([{ path, timestamp: "now", value, kind: "f64", unit: "m" }]);
  await put(1.5);
  const limits = { match: path, label: "Level", low: 1, high: 2 };
  await write("limits", { title: "Limits", tiles: [limits, { match: "test/boards/none" }] });
  await withPage(browser, {}, async (page) => {
    await page.goto(`${BOARDS}/limits`);
    await page.waitForSelector(".tile[data-state=well]");
    const colour = () => tile(page, path).evaluate((shown) => getComputedStyle(shown).backgroundColor);
    const calm = await colour();
    assert.match(await tile(page, path).textContent(), /1 to 2 m/);
    assert.match(await page.textContent(".tile[data-state=missing]"), /does not exist/);
    await put(2.5);
    await page.waitForSelector(".tile[data-state=high]");
    assert.match(await tile(page, path).textContent(), /above 2 m/);
    assert.match(await page.textContent(".news[role=status]"), /1 series out of range, 1 tile without a series/);
    assert.notEqual(await colour(), calm);
    await put(0.5);
    await page.waitForSelector(".tile[data-state=low]");
    assert.match(await tile(page, path).textContent(), /below 1 m/);
    await put(1);
    await page.waitForSelector(".tile[data-state=well]");
  });
});

test("of two who edit one board the later is shown both and loses nothing", async () => {
  const { revision } = await write("both", { title: "Both", tiles: [{ match: fed.path }] });
  await withPage(browser, { tolerate: [/status of 412/] }, async (page) => {
    await page.goto(`${BOARDS}/both/edit`);
    await fill(page, { label: "Mine" });
    const theirs = { title: "Theirs now", tiles: [{ match: fed.path, label: "Yours" }] };
    await write("both", theirs, { "if-match": `"${revision}"` });
    await act(page, "save");
    await page.getByText("Somebody saved this board while you edited it.").waitFor();
    assert.match(await page.textContent(".conflict"), /Theirs now.*label Yours/s);
    assert.equal(await page.inputValue("[name=label]"), "Mine");
    await accessible(page);
    await picture(page, "board conflict", { fullPage: true });
    assert.match(await page.textContent("button[value=save]"), /Save over it/);
    await act(page, "save");
    await page.waitForURL(/\/boards\/both(\?|$)/);
    assert.match(await page.textContent(".tile h3"), /Mine/);
  });
});

test("the default board is there without anybody's work, and is copied as a start", async () => {
  await withPage(browser, {}, async (page) => {
    await page.goto(`${BOARDS}/default`);
    assert.match(await page.textContent("main"), /Made of the tree/);
    const shown = await page.$$eval(".tile", (tiles) => tiles.map((tile) => tile.dataset.path));
    assert.ok(shown.includes(fed.path) || shown.length === 24, shown.join(" "));
    assert.ok(!shown.some((path) => path?.startsWith("_tidemark/")));
    await page.click(".board-tools button");
    await page.waitForURL("**/boards/copy-of-default*/edit*");
    made.add(new URL(page.url()).pathname.split("/")[2]);
    const rows = await page.$$eval("[name=match]", (fields) => fields.map((field) => field.value));
    assert.deepEqual(rows, shown);
  });
});

test("what was typed and not saved is not left without a word", async () => {
  await write("typed", { title: "Typed", tiles: [{ match: fed.path }] });
  await withPage(browser, {}, async (page) => {
    await page.goto(`${BOARDS}/typed/edit`);
    await page.locator("[name=label]").pressSequentially("x");
    let asked = 0;
    page.on("dialog", (dialog) => {
      asked += 1;
      return dialog.accept();
    });
    await page.click("text=Discard");
    await page.waitForURL(/\/boards\/typed$/);
    assert.equal(asked, 1);
  });
});

test("a dashboard that is away is told, and the last picture stays", async () => {
  await withPage(browser, { tolerate: [/Failed to load resource/] }, async (page) => {
    await page.goto(`${BOARDS}/default`);
    await page.waitForSelector("[data-rounds]");
    await page.route("**/boards/default?fragment=1", (route) => route.abort());
    await page.getByText("The dashboard has not answered since").waitFor();
    assert.ok((await page.$$(".tile")).length > 4);
    await page.unroute("**/boards/default?fragment=1");
    await page.waitForSelector("#silence", { state: "hidden" });
  });
});

const SHOWN = {
  title: "Press hall",
  tiles: [
    { match: "plant/**/temperature", label: "Temperature", high: 60, low: 10, trend: "15m" },
    { match: "plant/**/pressure", trend: "15m" },
    { match: "host/**", trend: "15m" },
    { match: "plant/none/of/these" },
  ],
};

for (const { name, ...look } of [
  ...LOOKS,
  { name: "dark wall", colorScheme: "dark", viewport: { width: 2560, height: 1440 } },
]) {
  test(`boards are accessible in ${name}`, async () => {
    await write("hall", SHOWN).catch(() => {});
    await withPage(browser, { ...look, tolerate: [/status of 400/] }, async (page) => {
      await page.goto(`${BOARDS}/hall`);
      await page.waitForSelector(".spark .mean");
      await page.waitForSelector("[data-rounds]");
      await accessible(page);
      await picture(page, `board ${name}`);
      await page.goto(`${BOARDS}/hall/edit`);
      await accessible(page);
      await picture(page, `board editor ${name}`);
      await fill(page, { low: "x" });
      await act(page, "save");
      await page.getByText("is not a number").first().waitFor();
      await accessible(page);
      await picture(page, `board mistake ${name}`);
      await page.goto(BOARDS);
      await accessible(page);
      await picture(page, `boards ${name}`);
      await page.goto(`${BOARDS}/default`);
      await page.waitForSelector("[data-rounds]");
      await accessible(page);
      await picture(page, `board default ${name}`);
    });
  });
}
