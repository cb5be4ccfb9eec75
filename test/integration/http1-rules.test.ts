/** Rules of HTTP that show only on the wire: what passes a gateway in either direction, what does not, and how a message ends. */
import { afterEach, describe, expect, it } from "vitest";
import {
  CLUSTER,
  eventually,
  freePort,
  okAnswer,
  RawClient,
  ScriptedOrigin,
  testGateway,
  testListener,
  testRoute,
  testSnapshot,
} from "../support/gateway.ts";

const opened: { stop(): void }[] = [];
afterEach(() => {
  for (const one of opened.splice(0)) one.stop();
});

/** A gateway before an origin that answers each request with `answer`. */
async function start(answer: string | ((request: string) => string), end = false) {
  const text = typeof answer === "string" ? () => answer : answer;
  const origin = await new ScriptedOrigin((socket, request) => {
    socket.write(text(request), "latin1");
    if (end) socket.end();
  }).start();
  const port = await freePort();
  const gateway = testGateway();
  await gateway.install(
    testSnapshot({ listeners: [testListener(port)], originPorts: [origin.port], routes: [testRoute(CLUSTER)] }),
  );
  opened.push(origin, { stop: () => void gateway.engine.drain(0) });
  const client = (): RawClient => {
    const one = new RawClient(port);
    opened.push({ stop: () => one.close() });
    return one;
  };
  return { origin, client };
}

const H = "host: a.test\r\n";
const GET = `GET / HTTP/1.1\r\n${H}\r\n`;
const CHUNKED = "transfer-encoding: chunked\r\n";

describe("interim responses", () => {
  const early = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nx-hop: 1\r\nkeep-alive: 5\r\nconnection: x-hop\r\n\r\n";

  it("pass on without what is for this hop", async () => {
    const { client } = await start(early + okAnswer("done"));
    const text = await client()
      .send(GET)
      .until((all) => all.endsWith("done"));
    expect(text).toMatch(/^HTTP\/1\.1 103 Early Hints\r\nlink: <\/a>\r\n\r\nHTTP\/1\.1 200/);
  });

  it("do not reach clients of HTTP/1.0", async () => {
    const { client } = await start(early + okAnswer("done"));
    expect(await client().send(`GET / HTTP/1.0\r\n${H}\r\n`).end()).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  });

  it("a 100 passes on where no go-ahead was given here", async () => {
    const { client } = await start(`HTTP/1.1 100 Continue\r\n\r\n${okAnswer("done")}`);
    const text = await client()
      .send(GET)
      .until((all) => all.endsWith("done"));
    expect(text).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK/);
  });

  it("a client that asked for a go-ahead gets one", async () => {
    const { client } = await start(`HTTP/1.1 100 Continue\r\n\r\n${okAnswer("done")}`);
    const one = client().send(`POST / HTTP/1.1\r\n${H}expect: 100-continue\r\ncontent-length: 1\r\n\r\n`);
    await one.until((all) => all.includes("100 Continue"));
    const text = await one.send("x").until((all) => all.endsWith("done"));
    expect(text.match(/100 Continue/g)).toHaveLength(1);
  });

  it("a switch of protocols that nobody asked for is answered with 502", async () => {
    const { client } = await start("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nbytes of x");
    const answer = await client().send(GET).answer();
    expect(answer).toMatch(/^HTTP\/1\.1 502 /);
    expect(answer).not.toContain("bytes of x");
  });
});

describe("trailer fields", () => {
  const answer = `HTTP/1.1 200 OK\r\n${CHUNKED}\r\n3\r\nabc\r\n0\r\nx-sum: 3\r\nhost: evil\r\nx-hop: 1\r\n\r\n`;

  it("of a response reach the client that asked for them, but for those that may not be there", async () => {
    const { client, origin } = await start(answer.replace(CHUNKED, `${CHUNKED}connection: x-hop\r\n`));
    const text = await client().send(`GET / HTTP/1.1\r\n${H}te: trailers\r\nconnection: te\r\n\r\n`).answer();
    expect(text).toMatch(/\r\n3\r\nabc\r\n0\r\nx-sum: 3\r\n\r\n$/);
    expect(origin.received[0]).toMatch(/\r\nte: trailers\r\n[\s\S]*\r\nconnection: te\r\n/);
  });

  it("of a response stay behind where nobody asked for them", async () => {
    const { client, origin } = await start(answer);
    expect(await client().send(GET).answer()).toMatch(/\r\n3\r\nabc\r\n0\r\n\r\n$/);
    expect(origin.received[0]).not.toMatch(/\r\n(te|connection):/);
  });

  it("of a request reach the origin, but for those that may not be there", async () => {
    const { client, origin } = await start(okAnswer("ok"));
    const head = `POST / HTTP/1.1\r\n${H}${CHUNKED}connection: x-hop\r\n\r\n`;
    await client().send(`${head}1\r\na\r\n0\r\nx-sum: 1\r\nauthorization: evil\r\nx-hop: 1\r\n\r\n`).answer();
    expect(origin.received[0]).toMatch(/\r\n\r\n1\r\na\r\n0\r\nx-sum: 1\r\n\r\n$/);
  });
});

describe("a response that is cut", () => {
  const rest = (text: string): string => text.slice(text.indexOf("\r\n\r\n") + 4);

  it("in chunks: no last chunk", async () => {
    const { client } = await start(`HTTP/1.1 200 OK\r\n${CHUNKED}\r\n3\r\nabc\r\n`, true);
    expect(rest(await client().send(GET).end())).toBe("3\r\nabc\r\n");
  });

  it("by its length: the connection ends before it is reached", async () => {
    const { client } = await start("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", true);
    const text = await client().send(GET).end();
    expect(text).toContain("content-length: 9\r\n");
    expect(rest(text)).toBe("abc");
  });

  it("for a client that knows no chunks: a reset, for an end would look whole", async () => {
    const { client } = await start(`HTTP/1.1 200 OK\r\n${CHUNKED}\r\n3\r\nabc\r\n`, true);
    const one = client();
    const failed = new Promise<Error & { code?: string }>((resolve) => one.socket.once("error", resolve));
    one.send(`GET / HTTP/1.0\r\n${H}\r\n`);
    expect((await failed).code).toBe("ECONNRESET");
    expect(one.ended).toBe(false);
  });

  it("before its head is whole: 502 or 503, and nothing of it", async () => {
    const { client } = await start("HTTP/1.1 200 OK\r\nx-a: 1\r\n", true);
    const text = await client().send(GET).answer();
    expect(text).toMatch(/^HTTP\/1\.1 50[23] /);
    expect(text).not.toContain("x-a");
  });
});

describe("lengths", () => {
  it("a response longer than it says: what is too much reaches nobody, and its connection is not used again", async () => {
    const { client, origin } = await start(`${okAnswer("abc")}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil`);
    const one = client();
    expect(await one.send(GET).answer()).toMatch(/\r\n\r\nabc$/);
    expect(await one.send(GET).answer()).toMatch(/\r\n\r\nabc$/);
    expect(one.received).toBe("");
    expect(origin.sockets).toHaveLength(2);
  });

  it("content behind an answer to HEAD reaches nobody", async () => {
    const { client, origin } = await start(okAnswer("abc"));
    const one = client();
    await one.send(`HEAD / HTTP/1.1\r\n${H}\r\n`).until((all) => all.endsWith("\r\n\r\n"));
    expect(one.received).toContain("content-length: 3\r\n");
    one.received = "";
    expect(await one.send(GET).answer()).toMatch(/\r\n\r\nabc$/);
    expect(origin.sockets).toHaveLength(2);
  });

  it("a 204 with a length goes on without one", async () => {
    const { client } = await start("HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n");
    expect(
      await client()
        .send(GET)
        .until((all) => all.endsWith("\r\n\r\n")),
    ).not.toMatch(/content-length|transfer-encoding/);
  });

  it("a request shorter than it says is never whole for the origin", async () => {
    const { client, origin } = await start(() => "");
    const one = client().send(`POST / HTTP/1.1\r\n${H}content-length: 9\r\n\r\nabc`);
    await eventually(() => (origin.received[0] ?? "").endsWith("abc"));
    const cut = new Promise((resolve) => origin.sockets[0]?.once("close", resolve));
    one.close();
    origin.sockets[0]?.end();
    await cut;
    expect(origin.received[0]).toMatch(/content-length: 9\r\n\r\nabc$/);
  });

  it("a chunked request that is cut has no last chunk for the origin", async () => {
    const { client, origin } = await start(() => "");
    const one = client().send(`POST / HTTP/1.1\r\n${H}${CHUNKED}\r\n3\r\nabc\r\n`);
    await eventually(() => (origin.received[0] ?? "").endsWith("abc\r\n"));
    const cut = new Promise((resolve) => origin.sockets[0]?.once("close", resolve));
    one.close();
    origin.sockets[0]?.end();
    await cut;
    expect(origin.received[0]).toMatch(/\r\n\r\n3\r\nabc\r\n$/);
  });
});

describe("connections", () => {
  it("close after the answer to a request that says so, and read no further", async () => {
    const { client, origin } = await start(okAnswer("ok"));
    const text = await client().send(`GET /1 HTTP/1.1\r\n${H}connection: close\r\n\r\nGET /2 HTTP/1.1\r\n${H}\r\n`).end();
    expect(text).toMatch(/\r\nconnection: close\r\n/);
    expect(text.match(/HTTP\/1\.1 200/g)).toHaveLength(1);
    expect(origin.received[0]).not.toContain("/2");
  });

  it("close both ways behind a client that has asked for it and has nothing more to send", async () => {
    const { client } = await start(okAnswer("ok"));
    const waited = client().send(`POST / HTTP/1.1\r\n${H}connection: close\r\ncontent-length: 1\r\n\r\nx`);
    expect(await waited.end()).toMatch(/ok$/);
    const left = client().send(`GET / HTTP/1.1\r\n${H}connection: close\r\n\r\n`);
    expect(await left.end()).toMatch(/ok$/);
    // What nobody is there to read is answered with a reset: first on the connection that was answered last.
    await eventually(() => waited.send("x").closed || left.send("x").closed);
    expect([waited.closed, left.closed]).toEqual([false, true]);
  });

  it("wait for the end of a client that may still be sending", async () => {
    const { client } = await start(okAnswer("ok"));
    const one = client().send(`POST / HTTP/1.1\r\n${H}connection: close\r\ncontent-length: 1\r\n\r\nx`);
    const errors: Error[] = [];
    one.socket.on("error", (error) => errors.push(error));
    expect(await one.end()).toMatch(/ok$/);
    one.send("\r\n").socket.end();
    await eventually(() => one.closed);
    expect(errors).toEqual([]);
  });

  it("close behind what is ambiguous", async () => {
    const { client, origin } = await start(okAnswer("ok"));
    const doubtful = `POST / HTTP/1.1\r\n${H}content-length: 3\r\n${CHUNKED}\r\n0\r\n\r\n`;
    const text = await client()
      .send(doubtful + GET)
      .end();
    expect(text).toMatch(/^HTTP\/1\.1 400 [\s\S]*\r\nconnection: close\r\n/);
    expect(text.match(/HTTP\/1\.1 /g)).toHaveLength(1);
    expect(origin.received).toHaveLength(0);
  });

  it("of an origin that says close are not used again", async () => {
    const { client, origin } = await start(okAnswer("ok", "connection: close\r\n"));
    const one = client();
    await one.send(GET).answer();
    await one.send(GET).answer();
    expect(origin.sockets).toHaveLength(2);
  });

  it("nothing reaches the origin before the head is whole", async () => {
    const { client, origin } = await start(okAnswer("ok"));
    const one = client().send(`GET / HTTP/1.1\r\n${H}`);
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(origin.received).toHaveLength(0);
    expect(await one.send("\r\n").answer()).toMatch(/ok$/);
  });

  it("an https resource is not to be had in the clear", async () => {
    const { client, origin } = await start(okAnswer("ok"));
    expect(await client().send("GET https://a.test/ HTTP/1.1\r\nhost: a.test\r\n\r\n").answer()).toMatch(
      /^HTTP\/1\.1 421 [\s\S]*\r\ndate: /,
    );
    expect(await client().send("GET http://a.test/x HTTP/1.1\r\nhost: a.test\r\n\r\n").answer()).toMatch(/^HTTP\/1\.1 200 /);
    expect(origin.received.join("")).toMatch(/^GET \/x HTTP\/1\.1\r\nhost: a\.test\r\n/);
  });

  it("a bad answer of the origin is 502, and its connection is closed", async () => {
    for (const bad of [
      "HTTP/1.1 200 OK\r\ncontent-length: 1, 2\r\n\r\nab",
      `HTTP/1.1 200 OK\r\ncontent-length: 3\r\n${CHUNKED}\r\n0\r\n\r\n`,
      "HTTP/1.1 200 OK\r\nx-a: 1\r\n 2\r\n\r\n",
      "HTTP/1.1 200 OK\r\nx-a : 1\r\n\r\n",
      "HTTP/1.1 200 OK\r\nx-a: 1\0\r\n\r\n",
      "HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n",
      `HTTP/1.0 200 OK\r\n${CHUNKED}\r\n0\r\n\r\n`,
    ]) {
      const { client, origin } = await start(bad);
      const text = await client().send(GET).answer();
      expect(text, bad).toMatch(/^HTTP\/1\.1 502 /);
      expect(text, bad).not.toContain("x-a");
      await eventually(() => origin.sockets[0]?.destroyed === true || origin.sockets[0]?.readableEnded === true);
    }
  });
});
