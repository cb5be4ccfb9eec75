/** A WebSocket to a site's relay: opened with the bearer token, watched for signs of life, and ended on the first frame that is not what was agreed. */
import {
  type ControlMessage,
  controlFrame,
  RELAY_PATH,
  RELAY_PING,
  type RelayMessage,
  readRelayMessage,
} from "../../gateway/core/ir/index.ts";
import type { SiteLink } from "./edge-conversation.ts";

export interface SocketTiming {
  /** Within which the upgrade has to work. */
  readonly connectMs: number;
  /** How often the relay is asked for a sign of life; the runtime answers without waking it. */
  readonly pingMs: number;
  /** Silence after which the connection counts as dead. */
  readonly maxSilenceMs: number;
}
const SOCKET_TIMING: SocketTiming = { connectMs: 10_000, pingMs: 15_000, maxSilenceMs: 40_000 };
/** The relay's code for a connection whose place another one took (gateway/edge/relay-do.ts). */
const CLOSE_REPLACED = 4001;
const CLOSE_REFUSED = 4000;

export interface SiteAddress {
  /** Of the site, `https://host[:port]`. */
  readonly url: string;
  /** Bearer token; a secret. */
  readonly token: string;
}

export interface SocketEnd {
  /** Whether the upgrade worked. */
  readonly opened: boolean;
  readonly replaced: boolean;
  readonly reason: string;
}

export interface SocketEvents {
  opened(link: SiteLink): void;
  received(message: RelayMessage): void;
}

export interface OpenSocket {
  readonly ended: Promise<SocketEnd>;
  end(reason: string): void;
}

/** Where a site's relay answers: at a place of its own, whatever path the site's URL has. */
export function relayUrl(site: string, below: string): string {
  const { protocol, host } = new URL(site);
  return `${protocol}//${host}${RELAY_PATH}${below}`;
}

/** Never follows a redirect: the WebSocket protocol's own fetch refuses them. */
export function openSocket({ url, token }: SiteAddress, events: SocketEvents, timing = SOCKET_TIMING): OpenSocket {
  const { connectMs, pingMs, maxSilenceMs } = timing;
  const socket = new WebSocket(relayUrl(url, "").replace(/^http/, "ws"), {
    headers: { authorization: `Bearer ${token}` },
  });
  socket.binaryType = "arraybuffer";
  const { promise: ended, resolve } = Promise.withResolvers<SocketEnd>();
  let opened = false;
  let heardMs = performance.now();
  const finish = (reason: string, replaced = false) => {
    clearTimeout(opening);
    clearInterval(pinging);
    resolve({ opened, replaced, reason });
    if (socket.readyState < WebSocket.CLOSING) socket.close(CLOSE_REFUSED);
  };
  const opening = setTimeout(() => finish(`no WebSocket within ${connectMs / 1000} s`), connectMs);
  const pinging = setInterval(() => {
    if (performance.now() - heardMs > maxSilenceMs) finish(`the relay was silent for ${maxSilenceMs / 1000} s`);
    else if (opened) socket.send(RELAY_PING);
  }, pingMs);
  const link: SiteLink = {
    send: (message: ControlMessage) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(controlFrame(message));
    },
    end: finish,
  };
  socket.addEventListener("open", () => {
    clearTimeout(opening);
    opened = true;
    heardMs = performance.now();
    events.opened(link);
  });
  socket.addEventListener("message", ({ data }) => {
    heardMs = performance.now();
    const message = readRelayMessage(typeof data === "string" ? data : new Uint8Array(data));
    if (message.ok) events.received(message.value);
    else
      finish(
        `the relay sent a frame that cannot be read: ${message.error.map(({ path, problem }) => `${path}: ${problem}`).join("; ")}`,
      );
  });
  socket.addEventListener("error", (event) => finish(`the connection failed: ${event.message || "no WebSocket"}`));
  socket.addEventListener("close", ({ code, reason }) =>
    finish(
      reason === "" ? `the relay closed the connection (${code})` : `the relay closed the connection: ${reason} (${code})`,
      code === CLOSE_REPLACED,
    ),
  );
  return { ended, end: finish };
}
