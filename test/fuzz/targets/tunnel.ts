/** Tunnel frames and sessions: total, reading back what was written, and never keeping more than the windows allow, whatever the other side sends. */
import {
  CONNECTION_WINDOW_BYTES,
  decodeFrame,
  encodeFrame,
  MAX_TUNNEL_STREAMS,
  type TunnelFrame,
  TunnelSession,
} from "../../../gateway/core/index.ts";
import type { Dice } from "../dice.ts";
import { FuzzFailure, type FuzzTarget } from "../target.ts";

const REQUEST = {
  method: "POST",
  scheme: "https",
  authority: "a.test",
  target: "/",
  fields: ["a", "b"],
  body: { kind: "stream" },
} as const;
const open = (stream: number): TunnelFrame => ({ kind: "open", stream, head: { ...REQUEST, fields: [...REQUEST.fields] } });

let inputs = 0;
let read = 0;
let violations = 0;

function randomFrame(dice: Dice): TunnelFrame {
  const stream = 1 + dice.int(4);
  return dice.pick<() => TunnelFrame>([
    () => open(stream),
    () => ({
      kind: "head",
      stream,
      head: { status: 200 + dice.int(400), fields: [], body: { kind: "length", bytes: dice.int(50) } },
    }),
    () => ({ kind: "data", stream, bytes: new Uint8Array(1 + dice.int(8_000)) }),
    () => ({ kind: "end", stream }),
    () => ({ kind: "reset", stream, code: dice.pick(["refused", "cancelled", "broken"]), reason: dice.text("ab\u00e9", 0, 9) }),
    () => ({ kind: "window", stream: dice.int(5), bytes: 1 + dice.int(0x7fff_ffff) }),
    () => ({ kind: "ping", number: dice.int(9) }),
    () => ({ kind: "goaway" }),
  ])();
}

/** A session in the middle of something. */
function begun(role: "opener" | "acceptor"): TunnelSession {
  const session = new TunnelSession(role);
  for (let stream = 1; stream <= 3; stream++) {
    if (role === "opener") session.open({ ...REQUEST, fields: [] });
    else session.receive(encodeFrame(open(stream)));
  }
  session.take();
  return session;
}

export const target: FuzzTarget = {
  name: "tunnel",
  seeds: [open(4), { kind: "goaway" }, { kind: "data", stream: 1, bytes: new Uint8Array(9) }, { kind: "end", stream: 1 }].map(
    (frame) => encodeFrame(frame as TunnelFrame),
  ),
  tokens: [
    "\x01",
    "\x02",
    "\x03",
    "\x04",
    "\x05\x00\x00\x00\x01\x01",
    "\x06\x00\x00\x00\x00",
    '"body":null',
    '"stream"',
    "\xff\xff\xff\xff",
  ],
  generate: (dice) => encodeFrame(randomFrame(dice)),
  check(input, dice) {
    inputs++;
    const decoded = decodeFrame(input);
    if (decoded.ok) {
      read++;
      const written = encodeFrame(decoded.value);
      const again = decodeFrame(written);
      if (!again.ok || Buffer.compare(encodeFrame(again.value), written) !== 0)
        throw new FuzzFailure("reads what was written", JSON.stringify(decoded));
    }
    for (const role of ["opener", "acceptor"] as const) {
      const session = begun(role);
      const messages = [input, ...Array.from({ length: 6 }, () => (dice.chance(0.3) ? input : encodeFrame(randomFrame(dice))))];
      let unread = 0;
      for (const message of messages) {
        const event = session.receive(message);
        session.take();
        if (event.kind === "violation") {
          violations++;
          break;
        }
        if (event.kind === "data") unread += event.bytes.length;
        if (event.kind === "reset") unread = 0;
        if (unread > CONNECTION_WINDOW_BYTES) throw new FuzzFailure("windows", `${unread} bytes are unread`);
        if (session.live < 0 || session.live > MAX_TUNNEL_STREAMS) throw new FuzzFailure("streams", String(session.live));
      }
    }
  },
  summary: () => `${read} of ${inputs} read, ${violations} violations`,
};
