import { Duplex } from "node:stream";
import { connect } from "node:tls";
import { describe, expect, test } from "vitest";
import { clientHello, HELLOS, records } from "../../test/wire/client-hellos.ts";
import { splits } from "../../test/wire/transcript.ts";
import { type ClientHelloEvent, ClientHelloReader, DEFAULT_CLIENT_HELLO_LIMITS } from "./client-hello.ts";

function read(chunks: Iterable<Uint8Array>, limits = DEFAULT_CLIENT_HELLO_LIMITS): object | string {
  const reader = new ClientHelloReader({ limits });
  let event: ClientHelloEvent = { kind: "need" };
  for (const chunk of chunks) event = reader.feed(chunk);
  return event.kind === "hello" ? event.hello : event.kind === "error" ? event.code : event.kind;
}

describe("ClientHellos", () => {
  test.each(HELLOS)("%s", (_name, bytes, expected) => {
    expect(read([bytes])).toEqual(expected);
  });
  test.each(HELLOS)("%s: split anywhere", (_name, bytes, expected) => {
    for (const chunks of splits(bytes)) expect(read(chunks)).toEqual(expected);
  });
});

describe("limits, from both sides", () => {
  const message = clientHello({ serverName: "a.test", padding: 100 });

  test("maxClientHelloBytes", () => {
    const limits = { ...DEFAULT_CLIENT_HELLO_LIMITS, maxClientHelloBytes: message.length };
    expect(read([records(message)], limits)).toMatchObject({ serverName: "a.test" });
    expect(read([records(message)], { ...limits, maxClientHelloBytes: message.length - 1 })).toBe("too_large");
  });

  test("maxClientHelloRecords", () => {
    const limits = { ...DEFAULT_CLIENT_HELLO_LIMITS, maxClientHelloRecords: 3 };
    expect(read([records(message, Math.ceil(message.length / 3))], limits)).toMatchObject({ serverName: "a.test" });
    expect(read([records(message, Math.ceil(message.length / 4))], limits)).toBe("too_many_records");
  });
});

test.each([
  ["192.0.2.1", undefined],
  ["::1", undefined],
  ["2001:db8::192.0.2.1", undefined],
  ["1.a.test", "1.a.test"],
  ["a.123", "bad_server_name"],
  ["a..test", "bad_server_name"],
])("%s where addresses are taken for no name", (serverName, expected) => {
  const event = new ClientHelloReader({ addresses: "unnamed" }).feed(records(clientHello({ serverName })));
  expect(event.kind === "hello" ? event.hello.serverName : event.kind === "error" ? event.code : event.kind).toBe(expected);
  // Whoever judges by names takes no address for one.
  expect(read([records(clientHello({ serverName }))])).toEqual(
    expected?.endsWith("test") ? expect.objectContaining({ serverName }) : "bad_server_name",
  );
});

test("the answer stays", () => {
  const reader = new ClientHelloReader();
  const answer = reader.feed(Uint8Array.of(0));
  expect(answer).toMatchObject({ kind: "error", code: "not_tls" });
  expect(reader.feed(records(clientHello({})))).toBe(answer);
});

test("a hello of a real client", async () => {
  const sent = await new Promise<Uint8Array>((resolve) => {
    const wire = new Duplex({ read() {}, write: (chunk: Buffer) => resolve(chunk) });
    const socket = connect({ socket: wire, servername: "real.example", ALPNProtocols: ["h2", "http/1.1"] });
    socket.on("error", () => {});
  });
  expect(read([sent])).toEqual({ serverName: "real.example", alpn: ["h2", "http/1.1"], ech: false, versions: [0x0304, 0x0303] });
});
