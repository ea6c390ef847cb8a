// Logging in and out, with and without script, over a dashboard of the tests' own.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { LOOKS, accessible, hydrated, launch, picture, system, withPage } from "./support.mjs";

const run = promisify(execFile);
const COOKIE = "__Host-tidemark-session";

let browser;
let folder;
let dashboard;
let origin;
const passwords = {};

before(async () => {
  const program = process.env.DASHBOARD_PROGRAM;
  assert.ok(program, "set DASHBOARD_PROGRAM to the dashboard's program, as `cargo xtask test` does");
  const { nodes, identities } = await system();
  folder = await mkdtemp(path.join(tmpdir(), "tidemark-users-"));
  const users = path.join(folder, "users.json");
  for (const role of ["reader", "operator"]) {
    const { stdout } = await run(program, ["user", "add", role, "--role", role, "--users", users]);
    passwords[role] = stdout.trim();
  }
  assert.equal((await stat(users)).mode & 0o777, 0o600);
  const target = nodes.map((node) => node.quic).join(",");
  const options = ["--identity", identities.operator, "--target", target, "--users", users];
  dashboard = spawn(program, ["--http", "127.0.0.1:0", ...options], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = await once(createInterface(dashboard.stdout), "line");
  origin = `http://${line.split("http=")[1]}`;
  browser = await launch();
});
after(async () => {
  await browser?.close();
  if (dashboard) {
    dashboard.kill("SIGTERM");
    await once(dashboard, "exit");
  }
  if (folder) {
    await rm(folder, { recursive: true });
  }
});

const refused = [/status of (400|401|403|429)/];
const withOwnPage = (options, body) => withPage(browser, { origin, tolerate: refused, ...options }, body);

async function logIn(page, role, password = passwords[role]) {
  await page.fill("input[name=name]", role);
  await page.fill("input[name=password]", password);
  await page.click("button[type=submit]");
}

for (const javaScriptEnabled of [true, false]) {
  const how = javaScriptEnabled ? "with" : "without";
  test(`one logs in and out ${how} script, and lands where one wanted to go`, async () => {
    await withOwnPage({ javaScriptEnabled }, async (page, context) => {
      await page.goto(`${origin}/cluster`);
      await page.waitForURL("**/login?next=**");
      await logIn(page, "operator", "wrong");
      assert.match(await page.textContent("[role=alert]"), /Name or password is wrong/);
      await logIn(page, "operator");
      await page.waitForURL(`${origin}/cluster`);
      assert.match(await page.textContent(".leave"), /operator/);
      const cookies = await context.cookies();
      const session = cookies.find(({ name }) => name === COOKIE);
      assert.ok(session.httpOnly && session.secure, JSON.stringify(session));
      assert.equal(session.sameSite, "Lax");
      assert.equal(session.path, "/");
      await page.click(".leave button");
      await page.waitForURL("**/login");
      await page.goto(`${origin}/cluster`);
      await page.waitForURL("**/login?next=**");
    });
  });
}

test("a reader looks at boards, and an operator composes them", async () => {
  for (const role of ["reader", "operator"]) {
    const mayEdit = role === "operator";
    await withOwnPage({}, async (page) => {
      await page.goto(`${origin}/boards/default`);
      await logIn(page, role);
      await page.waitForURL(`${origin}/boards/default`);
      await page.waitForSelector(".tile .value");
      assert.equal((await page.$$(".board-tools form")).length, mayEdit ? 1 : 0);
      const answer = await page.goto(`${origin}/boards/default/edit`);
      assert.equal(answer.status(), mayEdit ? 200 : 403);
      await page.goto(`${origin}/boards`);
      assert.equal((await page.$$(".new-board")).length, mayEdit ? 1 : 0);
      const made = await page.evaluate(async () => {
        const body = new URLSearchParams({ title: "", from: "" });
        return (await fetch("/boards", { method: "POST", body })).status;
      });
      assert.equal(made, mayEdit ? 400 : 403);
    });
  }
});

test("a reader sees everything and changes nothing", async () => {
  await withOwnPage({}, async (page) => {
    await page.goto(`${origin}/?from=-5m&to=now&live=1`);
    await logIn(page, "reader");
    await page.waitForURL("**/?from=-5m&to=now&live=1");
    await hydrated(page);
    const statuses = await page.evaluate(async () => {
      const ask = async (method, address, body) => {
        const headers = { "content-type": "application/json" };
        return (await fetch(address, { method, body, headers })).status;
      };
      const reading = JSON.stringify([{ path: "test/login", timestamp: "now", value: 1 }]);
      return {
        read: await ask("GET", "/api/v1/series?match=**"),
        cluster: await ask("GET", "/api/v1/cluster"),
        write: await ask("POST", "/api/v1/readings", reading),
        remove: await ask("DELETE", "/api/v1/readings?match=test/login&from=-1h&to=now"),
        tokens: await ask("GET", "/api/v1/last?match=_tidemark/api-tokens/x"),
      };
    });
    assert.deepEqual(statuses, { read: 200, cluster: 200, write: 403, remove: 403, tokens: 403 });
  });
});

test("an operator writes", async () => {
  await withOwnPage({}, async (page) => {
    await page.goto(`${origin}/login`);
    await logIn(page, "operator");
    await hydrated(page);
    const status = await page.evaluate(async () => {
      const body = JSON.stringify([{ path: "test/login", timestamp: "now", value: 1 }]);
      const headers = { "content-type": "application/json" };
      return (await fetch("/api/v1/readings", { method: "POST", body, headers })).status;
    });
    assert.equal(status, 200);
  });
});

test("a page of another site neither writes nor listens with the session of its reader", async () => {
  await withOwnPage({ tolerate: [/./] }, async (page, context) => {
    await page.goto(`${origin}/login`);
    await logIn(page, "operator");
    await hydrated(page);
    // The same host by another name is another site, and cookies of a host go to all its ports.
    const other = await context.newPage();
    await other.route("http://127.0.0.2:9/**", (route) =>
      route.fulfill({ contentType: "text/html", body: "<p>elsewhere" }),
    );
    await other.goto("http://127.0.0.2:9/");
    const outcome = await other.evaluate(async (address) => {
      const socket = new WebSocket(`${address.replace("http", "ws")}/api/v1/tail?match=**`);
      const opened = await new Promise((settle) => {
        socket.onopen = () => settle(true);
        socket.onerror = () => settle(false);
      });
      const written = await fetch(`${address}/api/v1/readings`, {
        method: "POST",
        credentials: "include",
        body: "[]",
      }).then((response) => response.status, () => "kept from it");
      return { opened, written };
    }, origin);
    assert.deepEqual(outcome, { opened: false, written: "kept from it" });
    const own = await page.evaluate(async () => {
      const socket = new WebSocket(`${location.origin.replace("http", "ws")}/api/v1/tail?match=**`);
      return new Promise((settle) => {
        socket.onopen = () => settle(true);
        socket.onerror = () => settle(false);
      });
    });
    assert.ok(own, "a page of the dashboard's own listens");
  });
});

test("live data end with the session", async () => {
  await withOwnPage({ tolerate: [...refused, /favicon\.ico/] }, async (page) => {
    await page.goto(`${origin}/login`);
    await logIn(page, "reader");
    await hydrated(page);
    // A page that asks for nothing by itself, and so stays.
    await page.goto(`${origin}/healthz`);
    const reason = await page.evaluate(async () => {
      const socket = new WebSocket(`${location.origin.replace("http", "ws")}/api/v1/tail?match=**`);
      await new Promise((opened) => {
        socket.onmessage = opened;
      });
      const closed = new Promise((settle) => {
        socket.onclose = (event) => settle(event.reason);
      });
      await fetch("/logout", { method: "POST", redirect: "manual" });
      return closed;
    });
    assert.match(reason, /session has ended/);
  });
});

test("when the session ends, the page asks to log in and leads back", async () => {
  await withOwnPage({}, async (page, context) => {
    await page.goto(`${origin}/cluster`);
    await logIn(page, "reader");
    await page.waitForSelector("[data-rounds]");
    await context.clearCookies({ name: COOKIE });
    await page.waitForURL("**/login?next=/cluster");
    await logIn(page, "reader");
    await page.waitForURL(`${origin}/cluster`);
  });
});

for (const { name, ...look } of LOOKS) {
  test(`the log-in is accessible in ${name}`, async () => {
    await withOwnPage(look, async (page) => {
      await page.goto(`${origin}/login`);
      await accessible(page);
      await picture(page, `login ${name}`);
      await logIn(page, "nobody", "wrong");
      await page.waitForSelector("[role=alert]");
      await accessible(page);
      await picture(page, `login refused ${name}`);
    });
  });
}
