// Starts the browser part. A file of its own, so that the page needs no inline script for it.
import init, { hydrate } from "./dashboard.js";

await init();
hydrate();
performance.mark("tidemark-hydrated");
