// The link to the gateway: a WebSocket, or polling where it cannot be opened.
// `onFrame(frame)` gets each frame, `onState(name)` one of "connecting live polling lost forbidden".

const CODES = { forbidden: 4403, full: 4429 };
const SILENCE_MS = 10_000; // a link without a frame for so long is dead
const POLL_MS = 1_000;
const SOCKET_AGAIN_MS = 30_000; // while polling, a WebSocket is tried again after it
const HIDDEN_MS = 60_000; // a page that nobody sees for so long disconnects
const PAUSES_MS = [500, 1_000, 2_000, 5_000];

export class Link {
  constructor({ socketPath, framePath, onFrame, onState }) {
    Object.assign(this, { socketPath, framePath, onFrame, onState });
    this.failures = 0;
    this.hasOpened = false;
    this.isStopped = true;
    document.addEventListener("visibilitychange", () => this.followVisibility());
  }

  start() {
    this.isStopped = false;
    this.openSocket();
  }

  stop() {
    this.isStopped = true;
    clearTimeout(this.timer);
    clearTimeout(this.silence);
    const socket = this.socket;
    this.socket = null;
    socket?.close();
  }

  followVisibility() {
    clearTimeout(this.hiddenTimer);
    if (this.isForbidden) return;
    if (document.hidden) this.hiddenTimer = setTimeout(() => this.stop(), HIDDEN_MS);
    else if (this.isStopped) this.start();
  }

  openSocket() {
    const address = new URL(this.socketPath, location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = (this.socket = new WebSocket(address));
    let isOpen = false;
    this.expectFrame(socket);
    socket.addEventListener("message", (event) => {
      if (this.socket !== socket) return;
      isOpen = this.hasOpened = true;
      this.failures = 0;
      this.expectFrame(socket);
      this.onState("live");
      this.onFrame(JSON.parse(event.data));
    });
    socket.addEventListener("close", (event) => {
      if (this.socket !== socket) return;
      clearTimeout(this.silence);
      this.socket = null;
      if (event.code === CODES.forbidden) this.forbid();
      else if (event.code === CODES.full || (!isOpen && this.mayNotOpen())) this.startPolling();
      else this.openLater();
    });
  }

  mayNotOpen() { return !this.hasOpened || this.failures >= 1; }

  expectFrame(socket) {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => socket.close(), SILENCE_MS);
  }

  openLater() {
    this.onState("lost");
    const pause = PAUSES_MS[Math.min(this.failures, PAUSES_MS.length - 1)];
    this.failures += 1;
    this.timer = setTimeout(() => this.openSocket(), pause);
  }

  startPolling() {
    this.pollUntil = Date.now() + SOCKET_AGAIN_MS;
    this.poll();
  }

  async poll() {
    if (this.isStopped) return;
    try {
      const answer = await fetch(this.framePath, {
        headers: { accept: "application/json" }, cache: "no-store", redirect: "error",
      });
      if (answer.status === 403 || answer.status === 401) return this.forbid();
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const frame = await answer.json();
      if (this.failures) this.pollUntil = 0; // it is back: a WebSocket may open, too
      this.failures = 0;
      this.onState("polling");
      this.onFrame(frame);
    } catch {
      this.failures += 1;
      this.onState("lost");
    }
    if (this.isStopped) return;
    const pause = this.failures ? PAUSES_MS[Math.min(this.failures, PAUSES_MS.length) - 1] : POLL_MS;
    this.timer = setTimeout(() => this.pollOrOpen(), pause);
  }

  pollOrOpen() {
    if (Date.now() < this.pollUntil) this.poll();
    else this.openSocket();
  }

  forbid() {
    this.isForbidden = true;
    this.stop();
    this.onState("forbidden");
  }
}
