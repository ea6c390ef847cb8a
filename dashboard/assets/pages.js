// What the server's own pages do with script: the choice of colours, and a part of the page that is
// kept fresh. Without script both pages are whole, and true when they were loaded.

const YEAR_S = 31_536_000;
/** How long the server may take for a part. */
const PATIENCE_MS = 5_000;

document.querySelector(".theme")?.addEventListener("change", (event) => {
  document.documentElement.dataset.theme = event.target.value;
  document.cookie = `tidemark-theme=${event.target.value}; Path=/; Max-Age=${YEAR_S}; SameSite=Lax`;
});

/**
 * Makes `old` what `fresh` is, by the smallest changes: what stays the same keeps its focus, its
 * selection and its place on the screen, and only what changed is announced.
 */
function become(old, fresh) {
  for (const { name } of [...old.attributes]) {
    // What a reader has folded or unfolded stays so.
    if (!fresh.hasAttribute(name) && !(old.nodeName === "DETAILS" && name === "open")) {
      old.removeAttribute(name);
    }
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) {
      old.setAttribute(name, value);
    }
  }
  const nodes = [...fresh.childNodes];
  for (const [place, node] of nodes.entries()) {
    const before = old.childNodes[place];
    if (before === undefined) {
      old.append(node);
    } else if (before.nodeName !== node.nodeName || before.id !== node.id) {
      before.replaceWith(node);
    } else if (before.nodeType === Node.ELEMENT_NODE) {
      become(before, node);
    } else if (before.nodeValue !== node.nodeValue) {
      before.nodeValue = node.nodeValue;
    }
  }
  while (old.childNodes.length > nodes.length) {
    old.lastChild.remove();
  }
}

const region = document.querySelector("[data-refresh]");
const silence = document.getElementById("silence");

async function refresh() {
  const response = await fetch(region.dataset.refresh, { signal: AbortSignal.timeout(PATIENCE_MS) });
  if ([401, 403, 404].includes(response.status)) {
    // The session has ended: the server says where to log in, and leads back here. Or what was shown is
    // gone, or not for this reader any more: the server says that.
    location.reload();
    return;
  }
  if (!response.ok) {
    throw new Error(`status ${response.status}`);
  }
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html").body;
  const copy = region.cloneNode(false);
  copy.append(...fresh.childNodes);
  delete copy.dataset.stale;
  copy.dataset.rounds = Number(region.dataset.rounds ?? 0) + 1;
  become(region, copy);
}

async function keepFresh() {
  const pause = Number(region.dataset.pauseMs);
  let since = null;
  for (;;) {
    if (document.hidden) {
      await new Promise((seen) => document.addEventListener("visibilitychange", seen, { once: true }));
    }
    try {
      await refresh();
      since = null;
      silence.hidden = true;
    } catch {
      since ??= new Date();
      silence.textContent = `The dashboard has not answered since ${since.toISOString().slice(11, 19)} UTC. What is shown is from then.`;
      silence.hidden = false;
      region.dataset.stale = "";
    }
    await new Promise((later) => setTimeout(later, pause));
  }
}

if (region) {
  keepFresh();
}

// What must not be older than a change of one's own has been shown: the address to share is without.
const address = new URL(location.href);
if (address.searchParams.has("since")) {
  address.searchParams.delete("since");
  history.replaceState(history.state, "", address);
}

// Who has typed and not saved is asked before the page goes.
const draft = document.querySelector("form[data-draft]");
if (draft) {
  let isUnsaved = document.querySelector("[role=alert], [autofocus]") !== null;
  draft.addEventListener("input", () => {
    isUnsaved = true;
  });
  draft.addEventListener("submit", () => {
    isUnsaved = false;
  });
  addEventListener("beforeunload", (event) => {
    if (isUnsaved) {
      event.preventDefault();
    }
  });
}
