/** HTTP/1.1 messages, well-formed for the most part, odd in a place or two. */
import type { Dice } from "./dice.ts";

const LETTERS = "abcdefghijklmnopqrstuvwxyz";
const ALNUM = `${LETTERS}ABCXYZ0189`;
const VISIBLE = `${ALNUM}-._~!$&'()*+,;=:@/?%"<>[]^\`{|}`;
const TCHARS = `${ALNUM}!#$%&'*+-.^_\`|~`;
const VALUES = `${VISIBLE}  \t\xa0\xe9\xff\\#`;

export const TOKENS: readonly string[] = [
  "\r\n", "\r\n\r\n", "\n", "\r", " ", "\t", ":", ",", ";", "\0", "0\r\n\r\n", "Content-Length: 0\r\n", "Content-Length: 5\r\n", "Content-Length: +5\r\n",
  "Transfer-Encoding: chunked\r\n", "Transfer-Encoding: identity\r\n", "Transfer-Encoding : chunked\r\n", "transfer-encoding: chunked, chunked\r\n", "Host: b\r\n", "Connection: close\r\n",
  "Connection: upgrade\r\nUpgrade: x\r\n", "Expect: 100-continue\r\n", "HTTP/1.0", "HTTP/1.1", "HTTP/2.0", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 Continue\r\n\r\n",
  "chunked", "http://a", "://", "//", "*", "@", "[::1]", ":443", "CONNECT ", "HEAD ", "ffffffffffffffff", "; a=\"b\"", "\r\n ", "\xc4\x8a",
]; // biome-ignore format: a list of words

const line = (dice: Dice): string => dice.mostly("\r\n", ["\n", "\r", "\r\r\n", " \r\n", "\n\r\n", ""], 0.01);

export function request(dice: Dice): string {
  let text = dice.chance(0.05) ? "\r\n".repeat(1 + dice.int(3)) : "";
  for (let left = 1 + dice.int(3); left > 0; left--) text += oneRequest(dice);
  return text;
}

function oneRequest(dice: Dice): string {
  const method = dice.chance(0.95)
    ? dice.pick(["GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH", "CONNECT"])
    : dice.text(TCHARS, 1, 8);
  const host = authority(dice);
  const target = requestTarget(dice, method, host);
  const version = dice.mostly(
    "HTTP/1.1",
    ["HTTP/1.0", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/1.01", "HTTP/11", ""],
    0.12,
  );
  const framed = method === "CONNECT" && dice.chance(0.9) ? { fields: [], body: "" } : content(dice);
  const fields = [...ordinaryFields(dice), ...framed.fields];
  for (const _ of Array(dice.mostly(1, [0, 2], 0.03)))
    fields.splice(
      dice.int(fields.length + 1),
      0,
      `${dice.mostly("Host", ["HOST", "host"])}: ${dice.mostly(host, [authority(dice), ""])}`,
    );
  return `${method}${sp(dice)}${target}${sp(dice)}${version}${line(dice)}${fields.map((field) => field + line(dice)).join("")}${line(dice)}${framed.body}`;
}

export function response(dice: Dice): string {
  let text = "";
  for (let left = 1 + dice.int(2); left > 0; left--) text += oneResponse(dice);
  return text;
}

function oneResponse(dice: Dice): string {
  const interim = dice.chance(0.1)
    ? `HTTP/1.1 ${dice.pick([100, 102, 103])} x\r\n${dice.chance(0.5) ? "Link: a\r\n" : ""}\r\n`
    : "";
  const version = dice.mostly("HTTP/1.1", ["HTTP/1.0", "HTTP/1.0", "HTTP/1.2", "HTTP/2", "http/1.1", "ICY"], 0.12);
  const status = dice.mostly(
    `${dice.pick([200, 200, 200, 201, 204, 206, 301, 304, 400, 404, 500, 503])}`,
    ["101", "99", "600", "2000", "20", "2x0", "+20"],
    0.03,
  );
  const reason = dice.pick([" OK", " ", "", " Not Found", ` ${dice.text(VALUES, 0, 12)}`]);
  const framed = content(dice);
  const fields = [...ordinaryFields(dice), ...framed.fields];
  return `${interim}${version} ${status}${reason}${line(dice)}${fields.map((field) => field + line(dice)).join("")}${line(dice)}${framed.body}`;
}

const sp = (dice: Dice): string => dice.mostly(" ", ["  ", "\t", ""], 0.01);

function authority(dice: Dice): string {
  const host = dice.pick(["a", "Example.com", "x_y.z", "10.0.0.1", "[::1]", "[2001:DB8::a]", `${dice.text(LETTERS, 1, 8)}.test`]);
  const port = dice.pick(["", "", "", ":80", ":443", ":8080"]);
  return dice.mostly(
    host + port,
    [`u@${host}`, `${host}:`, `${host}:0`, `${host}:65536`, `${host},b`, `${host}%2e`, "[::", "", dice.text(VISIBLE, 0, 6)],
    0.02,
  );
}

function requestTarget(dice: Dice, method: string, host: string): string {
  if (method === "CONNECT") return dice.mostly(/:\d+$/.test(host) ? host : `${host}:443`, [host, "/x", "http://a/"]);
  if (method === "OPTIONS" && dice.chance(0.4)) return "*";
  const path = `${dice.mostly("/", ["", "//", "?", "/../"], 0.03)}${dice.text(VISIBLE, 0, 20)}`;
  if (dice.chance(0.15))
    return `${dice.pick(["http://", "http://", "HTTP://", "https://"])}${dice.mostly(host, [authority(dice)])}${dice.mostly(path, ["", "?x", "#y"], 0.1)}`;
  return dice.mostly(path, ["*", dice.text(VISIBLE, 1, 5), "/#a", "/\\a", "/\xe9"], 0.02);
}

function ordinaryFields(dice: Dice): string[] {
  return Array.from({ length: dice.int(5) }, () => {
    if (dice.chance(0.25))
      return dice.pick([
        "Connection: keep-alive",
        "Connection: close",
        "connection: Keep-Alive, x-a",
        "Connection: upgrade",
        "Upgrade: websocket",
        "Expect: 100-continue",
        "Keep-Alive: timeout=5",
        "TE: trailers",
        "Trailer: x",
        "Set-Cookie: a=b",
      ]);
    const name = dice.mostly(
      dice.pick(["Accept", "x-a", "X-Request-Id", "cookie", dice.text(TCHARS, 1, 12)]),
      ["", "a b", "a\xe9", "a(b"],
      0.01,
    );
    const value = dice.mostly(dice.text(VALUES, 0, 16), ["a\0b", "a\x0bb", "a\x7fb", "a\rb", "a\nb", "a\r\n b"], 0.01);
    return `${name}${dice.mostly(":", [" :", "", "::", ": :"], 0.01)}${dice.pick(["", " ", "\t ", "  "])}${value}${dice.pick(["", "", " ", "\t"])}`;
  });
}

/** Framing fields and the bytes they announce; now and then the two do not fit. */
function content(dice: Dice): { fields: string[]; body: string } {
  const data = dice.text(`${ALNUM}\r\n\0 `, 0, 12);
  switch (dice.int(4)) {
    case 0:
      return { fields: [], body: "" };
    case 1: {
      const length = dice.mostly(
        `${data.length}`,
        [
          `${data.length + 1}`,
          `+${data.length}`,
          `0${data.length}`,
          `${data.length},${data.length}`,
          "-1",
          "1e1",
          "",
          "99999999999999999999",
        ],
        0.06,
      );
      const field = `Content-Length: ${length}`;
      return {
        fields: dice.mostly(
          [field],
          [
            [field, field],
            [field, "Transfer-Encoding: chunked"],
          ],
          0.02,
        ),
        body: data,
      };
    }
    default: {
      const coding = dice.mostly(
        "chunked",
        ["Chunked", "gzip, chunked", "chunked, chunked", "identity", "chunked,", "xchunked", "\x0bchunked"],
        0.06,
      );
      return {
        fields: dice.mostly(
          [`Transfer-Encoding: ${coding}`],
          [[`Transfer-Encoding: ${coding}`, "Transfer-Encoding: chunked"]],
          0.02,
        ),
        body: chunks(dice),
      };
    }
  }
}

function chunks(dice: Dice): string {
  let text = "";
  for (let left = dice.int(4); left > 0; left--) {
    const data = dice.text(`${ALNUM}\r\n`, 1, 20);
    const size = dice.mostly(
      dice.pick([data.length.toString(16), data.length.toString(16).toUpperCase(), `0${data.length.toString(16)}`]),
      [`0x${data.length}`, ` ${data.length}`, `+${data.length}`, `${data.length} `, "fffffffffffffffff", "g", ""],
      0.02,
    );
    text += `${size}${extension(dice)}${line(dice)}${data}${line(dice)}`;
  }
  const trailers = dice.chance(0.3)
    ? ordinaryFields(dice)
        .map((field) => field + line(dice))
        .join("")
    : "";
  return `${text}${dice.mostly("0", ["00", "-0", "0 "], 0.03)}${extension(dice)}${line(dice)}${trailers}${line(dice)}`;
}

function extension(dice: Dice): string {
  if (dice.chance(0.85)) return "";
  return dice.pick([
    ";a",
    ";a=b",
    ';a="b"',
    "; a",
    ";a = b",
    ";",
    ";=",
    ';a="',
    ";a;b;c=d",
    ';a="\\""',
    `;${dice.text(VALUES, 0, 6)}`,
    ";a\rb",
    ";a\nb",
  ]);
}
