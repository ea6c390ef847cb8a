// The page of the cluster over a running system: fresh, and true while a node is away.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { LOOKS, URL_UNDER_TEST, accessible, launch, picture, system, until, withPage } from "./support.mjs";

let browser;
let nodes;
before(async () => {
  browser = await launch();
  ({ nodes } = await system());
});
after(() => browser?.close());

const ADDRESS = `${URL_UNDER_TEST}/cluster`;

/** Waits until the page has refreshed itself a few times, so that rates are known. */
async function refreshed(page) {
  await page.goto(ADDRESS);
  await page.waitForFunction(() => Number(document.querySelector("[data-rounds]")?.dataset.rounds) > 3);
}

const state = (page, id) => page.getAttribute(`#node-${id}`, "data-state");

test("nodes and agents are readable without any script", async () => {
  await withPage(browser, { javaScriptEnabled: false }, async (page) => {
    await until("agents that have spoken", async () => {
      await page.goto(ADDRESS);
      return (await page.$$("tr[id^=agent-]")).length >= 2;
    });
    assert.match(await page.textContent(".news"), /All 3 nodes answer; node \d leads\./);
    for (const { id, quic } of nodes) {
      assert.match(await page.textContent(`#node-${id}`), new RegExp(quic));
      assert.match(await page.textContent(`#node-${id}`), /free.*in \d+ d/s);
    }
  });
});

test("figures change by themselves and what has the focus keeps it", async () => {
  await withPage(browser, {}, async (page) => {
    await refreshed(page);
    await page.focus("nav a[aria-current]");
    const applied = () => page.textContent(`#node-1 td:nth-of-type(4)`);
    const before = await applied();
    await until("a new position", async () => (await applied()) !== before);
    assert.match(await page.textContent(".figures"), /Ingest\s*\d.*readings\/s/s);
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "Cluster");
    await page.evaluate(() => getSelection().selectAllChildren(document.querySelector("#nodes")));
    const rounds = () => page.evaluate(() => Number(document.querySelector("[data-rounds]").dataset.rounds));
    const now = await rounds();
    await until("another round", async () => (await rounds()) > now + 1);
    assert.equal(await page.evaluate(() => String(getSelection())), "Nodes");
  });
});

test("a node that dies and comes back is seen, with since when, as it happens", async () => {
  await withPage(browser, {}, async (page) => {
    await refreshed(page);
    const text = await page.textContent(".news");
    const leading = Number(text.match(/node (\d) leads/)[1]);
    const { id, pid } = nodes.find((node) => node.id !== leading);
    process.kill(pid, "SIGSTOP");
    try {
      const stopped = Date.now();
      await page.waitForSelector(`#node-${id}[data-state=down]`);
      console.log(`a node that died was shown as unreachable after ${Date.now() - stopped} ms`);
      assert.match(await page.textContent(`#node-${id} .state`), /since \d\d:\d\d:\d\d UTC/);
      assert.match(await page.textContent(".news[role=status]"), new RegExp(`Node ${id} has not answered since`));
      assert.equal(await state(page, leading), "leader");
      await accessible(page);
      await picture(page, "cluster node away");
    } finally {
      process.kill(pid, "SIGCONT");
    }
    await page.waitForSelector(`#node-${id}:not([data-state=down])`);
    await until("all is well again", async () =>
      /All 3 nodes answer/.test(await page.textContent(".news")),
    );
  });
});

test("a dashboard that is away is told, and the last picture stays", async () => {
  await withPage(browser, { tolerate: [/Failed to load resource/] }, async (page) => {
    await refreshed(page);
    await page.route("**/cluster?fragment=1", (route) => route.abort());
    await page.getByText("The dashboard has not answered since").waitFor();
    assert.equal((await page.$$("tr[id^=node-]")).length, 3);
    await page.unroute("**/cluster?fragment=1");
    await page.waitForSelector("#silence", { state: "hidden" });
  });
});

test("colours can be chosen here, too", async () => {
  await withPage(browser, {}, async (page) => {
    await refreshed(page);
    await page.check(".theme input[value=dark]", { force: true });
    assert.equal(await page.getAttribute("html", "data-theme"), "dark");
    await page.reload();
    assert.equal(await page.getAttribute("html", "data-theme"), "dark");
  });
});

for (const { name, ...look } of LOOKS) {
  test(`the cluster is accessible in ${name}`, async () => {
    await withPage(browser, look, async (page) => {
      await refreshed(page);
      await accessible(page);
      await picture(page, `cluster ${name}`, { fullPage: true });
    });
  });
}
