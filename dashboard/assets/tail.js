// Follows what is committed, over a WebSocket, and goes on where it was after every interruption.
//
// The API gives each message the position after it (docs/live.md); whoever comes back with it misses
// and repeats nothing. `src/live/following.rs` says what is followed and takes what comes.

/** Pauses between attempts: the first at once, for most interruptions are over when they are seen. */
const PAUSES_MS = [50, 250, 1000, 2000, 4000, 8000];
/** Positions come every few seconds even when nothing matches; silence means a dead connection. */
const SILENCE_MS = 12_000;

export class Tail {
  /**
   * @param {(text: string) => void} message called with each JSON array of readings
   * @param {(open: boolean) => void} state called when the connection is there, and when it is lost
   */
  constructor(message, state) {
    this.message = message;
    this.state = state;
    this.query = "";
    this.after = "";
    this.socket = null;
    this.failures = 0;
    this.timer = 0;
    this.watch = 0;
    addEventListener("online", () => this.socket || this.connect());
  }

  /** Follows these series from a position on. */
  follow(query, after) {
    this.stop();
    this.query = query;
    this.after = after;
    this.failures = 0;
    this.connect();
  }

  /** Takes note that everything up to a position is known, while nothing is connected. */
  passed(after) {
    if (this.query && !this.socket) {
      this.after = after;
    }
  }

  stop() {
    this.query = "";
    this.drop();
  }

  drop() {
    clearTimeout(this.timer);
    clearTimeout(this.watch);
    const { socket } = this;
    this.socket = null;
    if (socket) {
      socket.onmessage = socket.onclose = null;
      // One that is not there yet is closed when it is: browsers warn of the other way.
      socket.onopen = () => socket.close();
      if (socket.readyState !== WebSocket.CONNECTING) {
        socket.close();
      }
    }
  }

  connect() {
    this.drop();
    if (!this.query) {
      return;
    }
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const after = encodeURIComponent(this.after);
    const socket = new WebSocket(
      `${scheme}://${location.host}/api/v1/tail?${this.query}&time=ms&positions=true&after=${after}`,
    );
    this.socket = socket;
    this.listen();
    socket.onopen = () => this.state(true);
    socket.onmessage = ({ data }) => {
      this.failures = 0;
      this.listen();
      const at = data.lastIndexOf('"position":"') + 12;
      if (at > 11) {
        this.after = data.slice(at, data.indexOf('"', at));
      }
      this.message(data);
    };
    socket.onclose = () => this.lost();
  }

  listen() {
    clearTimeout(this.watch);
    this.watch = setTimeout(() => this.lost(), SILENCE_MS);
  }

  lost() {
    this.drop();
    const pause = PAUSES_MS[Math.min(this.failures, PAUSES_MS.length - 1)];
    this.failures += 1;
    this.timer = setTimeout(() => this.connect(), pause * (0.75 + Math.random() / 2));
    this.state(false);
  }
}
