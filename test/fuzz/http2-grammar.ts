/** What an HTTP/2 client says after its preface: frames, well-formed and in order for the most part, odd in a place or two. */
import {
  ACK,
  block,
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  type Fields,
  frame,
  GET,
  goAway,
  HEADERS,
  integer,
  PADDED,
  POST,
  PRIORITY,
  ping,
  rstStream,
  SETTINGS,
  settings,
  uint32,
  WITH_PRIORITY,
  windowUpdate,
} from "../support/http2-frames.ts";
import type { Dice } from "./dice.ts";

const NAMES = [
  "accept",
  "x-a",
  "cookie",
  "content-type",
  "user-agent",
  "x-request-id",
  "te",
  "host",
  "content-length",
  "expect",
  "via",
];
const ODD_NAMES = [
  "X-A",
  "",
  "a b",
  "connection",
  "transfer-encoding",
  "upgrade",
  ":path",
  ":odd",
  ":status",
  "a:b",
  "a\r\nb",
  "keep-alive",
];
const VALUES = ["a", "", "trailers", "a.test", "0", "3", "100-continue", "gzip, deflate", "a=b; c=d", "x".repeat(50)];
const ODD_VALUES = [" a", "a ", "a\r\nb: c", "a\0", "\x7f", "+3", "a\nTransfer-Encoding: chunked", "\xe9"];
const TEXT = "abcXYZ019-._~/?=&%";

/** What a server says to a client that has sent requests 1, 3, 5 and 7. */
export function answers(dice: Dice): Buffer {
  const frames: Buffer[] = [settings(), frame(SETTINGS, ACK, 0)];
  for (const stream of [1, 3, 5, 7]) {
    if (dice.chance(0.2)) frames.push(...head(dice, stream, responseFields(dice, "103"), dice.mostly(0, [END_STREAM])));
    const hasBody = dice.chance(0.6);
    const status = dice.mostly("200", ["204", "304", "101", "20", "600", "404"], 0.2);
    frames.push(...head(dice, stream, responseFields(dice, status), hasBody ? 0 : END_STREAM));
    if (hasBody) frames.push(data(dice, stream, 0));
    if (hasBody)
      frames.push(
        dice.chance(0.3) ? Buffer.concat(head(dice, stream, fields(dice), END_STREAM)) : data(dice, stream, END_STREAM),
      );
    if (dice.chance(0.3)) frames.push(oneMore(dice, dice.mostly(stream, [1, 2, 9, 0], 0.2)));
  }
  return Buffer.concat(frames);
}

function responseFields(dice: Dice, status: string): Fields {
  return [[dice.mostly(":status", [":path", "a"], 0.02), status], ...fields(dice)];
}

export function conversation(dice: Dice): Buffer {
  const frames: Buffer[] = [settings(), frame(SETTINGS, ACK, 0)];
  let next = 1;
  for (let left = 1 + dice.int(8); left > 0; left--) {
    const open = dice.chance(0.6) || next === 1;
    if (open) next += 2;
    frames.push(...(open ? request(dice, next - 2) : [oneMore(dice, dice.mostly(next - 2, [1, next, 2, 0], 0.2))]));
  }
  return Buffer.concat(frames);
}

function request(dice: Dice, stream: number): Buffer[] {
  const hasBody = dice.chance(0.5);
  const frames = head(dice, stream, requestFields(dice, hasBody ? POST : GET), hasBody ? 0 : END_STREAM);
  if (!hasBody) return frames;
  for (let left = dice.int(3); left > 0; left--) frames.push(data(dice, stream, 0));
  if (dice.chance(0.2)) frames.push(...head(dice, stream, fields(dice), dice.mostly(END_STREAM, [0])));
  else frames.push(data(dice, stream, END_STREAM));
  return frames;
}

/** A header block in one frame or several, by literals or by the tables. */
function head(dice: Dice, stream: number, list: Fields, flags: number): Buffer[] {
  const encoded = Buffer.concat([
    ...(dice.chance(0.02) ? [integer(5, 0x20, dice.pick([0, 100, 4096, 5000]))] : []),
    ...list.map((field) => block([field], dice.pick([0x00, 0x40, 0x10]))),
    ...(dice.chance(0.1) ? [Buffer.from([0x80 | dice.int(127)])] : []),
  ]);
  const priority = dice.chance(0.1) ? Buffer.concat([uint32(dice.int(9)), Buffer.from([dice.int(256)])]) : Buffer.alloc(0);
  const extra = flags | (priority.length > 0 ? WITH_PRIORITY : 0);
  if (dice.chance(0.1)) {
    const padding = dice.int(9);
    const payload = Buffer.concat([Buffer.from([padding]), priority, encoded, Buffer.alloc(padding)]);
    return [frame(HEADERS, extra | PADDED | END_HEADERS, stream, payload)];
  }
  const at = dice.chance(0.15) ? dice.int(encoded.length + 1) : encoded.length;
  const first = frame(
    HEADERS,
    extra | (at === encoded.length ? END_HEADERS : 0),
    stream,
    Buffer.concat([priority, encoded.subarray(0, at)]),
  );
  return at === encoded.length ? [first] : [first, frame(CONTINUATION, END_HEADERS, stream, encoded.subarray(at))];
}

function requestFields(dice: Dice, base: Fields): Fields {
  const pseudo = base.map(([name, value]): readonly [string, string] => {
    if (name === ":path")
      return [name, dice.mostly(`/${dice.text(TEXT, 0, 20)}`, ["*", "", "a", "/ b", "/#", "/\\", "https://a/"])];
    if (name === ":authority")
      return [name, dice.mostly(dice.pick(["a.test", "A.test:80", "[::1]:8"]), ["", "u@a", "a b", "a,b"])];
    return [name, dice.mostly(value, ["CONNECT", "OPTIONS", "http", "ftp", "a b"])];
  });
  const list = [...pseudo, ...fields(dice)];
  if (dice.chance(0.05)) list.splice(dice.int(list.length), dice.int(2), [dice.pick([":path", ":protocol", "a"]), "websocket"]);
  return list;
}

function fields(dice: Dice): Fields {
  return Array.from({ length: dice.int(6) }, () => [
    dice.mostly(dice.pick(NAMES), ODD_NAMES),
    dice.mostly(dice.pick(VALUES), ODD_VALUES),
  ]);
}

function data(dice: Dice, stream: number, flags: number): Buffer {
  const content = Buffer.alloc(dice.pick([0, 1, 3, 100]), 0x61);
  if (!dice.chance(0.2)) return frame(DATA, flags, stream, content);
  const padding = dice.int(9);
  return frame(
    DATA,
    flags | PADDED,
    stream,
    Buffer.concat([Buffer.from([dice.mostly(padding, [200])]), content, Buffer.alloc(padding)]),
  );
}

function oneMore(dice: Dice, stream: number): Buffer {
  switch (dice.int(9)) {
    case 0:
      return windowUpdate(stream, dice.pick([0, 1, 1000, 0x7fff_ffff]));
    case 1:
      return rstStream(stream, dice.int(16));
    case 2:
      return ping();
    case 3:
      return frame(PRIORITY, 0, stream, "abcde");
    case 4:
      return settings([dice.int(10), dice.pick([0, 1, 2, 100, 16_384, 0x7fff_ffff, 0x8000_0000])]);
    case 5:
      return frame(10 + dice.int(200), dice.int(256), stream, "unknown");
    case 6:
      return goAway(dice.int(9), dice.int(16));
    case 7:
      return windowUpdate(0, dice.pick([1, 1000]));
    default:
      return data(dice, stream, dice.pick([0, END_STREAM]));
  }
}
