import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { block, integer } from "../../../../test/support/http2-frames.ts";
import { decodeLatin1 } from "../../http1/chars.ts";
import { BAD_NAME, BAD_VALUE, CONTENT_LENGTH, PATH, REGULAR, UNKNOWN_PSEUDO } from "../message/kinds.ts";
import { BufferPool, Output } from "../output.ts";
import { HpackDecoder, HpackDecoderSettings, MAX_INTEGER_BYTES } from "./decoder.ts";
import { HpackEncoder, MAX_REMEMBERED_NAMES } from "./encoder.ts";

const SHARED = new HpackDecoderSettings({ maxHeaderBlockBytes: 64 * 1024, maxTableSizeUpdates: 2 }, decodeLatin1);

class Reader {
  readonly decoder: HpackDecoder;
  fields: string[] = [];
  kinds: number[] = [];
  secret: string[] = [];

  constructor(tableBytes = 4096) {
    this.decoder = new HpackDecoder(SHARED, tableBytes);
  }

  read(bytes: Uint8Array): string[] | "broken" {
    this.fields = [];
    this.kinds = [];
    this.secret = [];
    return this.decoder.decode(bytes, 0, bytes.length, this) ? this.fields : "broken";
  }

  field(kind: number, name: string, value: string): void {
    this.kinds.push(kind);
    this.fields.push(name, value);
  }

  neverIndexed(name: string): void {
    this.secret.push(name);
  }
}

class Writer {
  readonly encoder: HpackEncoder;
  readonly out = new Output(new BufferPool());

  constructor(maxBytes = 4096) {
    this.encoder = new HpackEncoder(maxBytes);
  }

  write(fields: readonly string[], secret = false): Uint8Array {
    this.encoder.begin(this.out);
    for (let i = 0; i < fields.length; i += 2) this.encoder.field(this.out, fields[i] ?? "", fields[i + 1] ?? "", secret);
    return Uint8Array.from(this.out.take());
  }
}

const hex = (text: string): Uint8Array => Buffer.from(text.replaceAll(" ", ""), "hex");

describe("the examples of RFC 7541 Appendix C", () => {
  const first = [":method", "GET", ":scheme", "http", ":path", "/", ":authority", "www.example.com"];
  const second = [...first, "cache-control", "no-cache"];
  const third = [
    ...[":method", "GET", ":scheme", "https", ":path", "/index.html", ":authority", "www.example.com"],
    ...["custom-key", "custom-value"],
  ];

  test.each([
    [
      "C.3, plain",
      "828684410f7777772e6578616d706c652e636f6d",
      "828684be58086e6f2d6361636865",
      "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
    ],
    [
      "C.4, Huffman",
      "828684418cf1e3c2e5f23a6ba0ab90f4ff",
      "828684be5886a8eb10649cbf",
      "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
    ],
  ])("%s", (_name, ...blocks) => {
    const reader = new Reader();
    expect(blocks.map((bytes) => reader.read(hex(bytes)))).toEqual([first, second, third]);
  });

  test("C.6, with evictions", () => {
    const reader = new Reader();
    reader.read(integer(5, 0x20, 256));
    const rest = ["date", "Mon, 21 Oct 2013 20:13:21 GMT", "location", "https://www.example.com"];
    expect(
      reader.read(
        hex("488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3"),
      ),
    ).toEqual([":status", "302", "cache-control", "private", ...rest]);
    expect(reader.read(hex("4883640effc1c0bf"))).toEqual([":status", "307", "cache-control", "private", ...rest]);
    expect(
      reader.read(
        hex(
          "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
        ),
      ),
    ).toEqual([
      ...[":status", "200", "cache-control", "private", "date", "Mon, 21 Oct 2013 20:13:22 GMT"],
      ...["location", "https://www.example.com", "content-encoding", "gzip"],
      ...["set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"],
    ]);
  });
});

describe("what cannot be decoded", () => {
  test.each([
    ["index 0", "80"],
    ["an index beyond both tables", "be"],
    ["a name by an index beyond both tables", "7f 00 01 61"],
    ["an integer that never ends", "ff 80 80 80 80 80 80 80 80 01"],
    ["an integer beyond 2^32", "ff ff ff ff ff 7f"],
    ["a text longer than the block", "00 05 61"],
    ["a literal without a value", "00 01 61"],
    ["a literal without a name", "00"],
    ["EOS in a text", "00 84 ff ff ff ff 01 61"],
    ["padding of a text that is not ones", "00 81 00 01 61"],
    ["padding of eight bits", "00 82 1f ff 01 61"],
    ["a size update after a field", "82 20"],
    ["a size update beyond what was announced", "3f e2 1f"],
    ["a size update that is cut", "3f"],
  ])("%s", (_name, bytes) => {
    expect(new Reader().read(hex(bytes))).toBe("broken");
  });

  test("MAX_INTEGER_BYTES is where an integer ends", () => {
    const padded = (zeros: number): Uint8Array => Buffer.from([0x00, 0x7f, ...new Array<number>(zeros).fill(0x80), 0x00]);
    expect(
      new Reader().read(Buffer.concat([padded(MAX_INTEGER_BYTES - 1), Buffer.from("a".repeat(127)), Buffer.from([0])])),
    ).toHaveLength(2);
    expect(new Reader().read(Buffer.concat([padded(MAX_INTEGER_BYTES), Buffer.from("a".repeat(127)), Buffer.from([0])]))).toBe(
      "broken",
    );
  });

  test("maxTableSizeUpdates", () => {
    expect(new Reader().read(hex("20 3f e1 1f 82"))).toEqual([":method", "GET"]);
    expect(new Reader().read(hex("20 3f e1 1f 20 82"))).toBe("broken");
  });

  test("a peer that does not shrink its table after our SETTINGS were acknowledged", () => {
    const reader = new Reader();
    reader.decoder.allow(1024);
    expect(reader.read(hex("82"))).toBe("broken");
    const other = new Reader();
    other.decoder.allow(1024);
    expect(other.read(Buffer.concat([integer(5, 0x20, 1024), hex("82")]))).toEqual([":method", "GET"]);
    expect(other.read(integer(5, 0x20, 1025))).toBe("broken");
  });
});

describe("fields that HTTP does not allow keep their place in the table", () => {
  test.each([
    ["Upper", "x", BAD_NAME],
    ["", "x", BAD_NAME],
    ["a b", "x", BAD_NAME],
    ["a\0", "x", BAD_NAME],
    [":", "x", BAD_NAME],
    [":Path", "x", BAD_NAME],
    ["a\xe9", "x", BAD_NAME],
    ["a", "x\r\ny", BAD_VALUE],
    ["a", "x\0", BAD_VALUE],
    ["a", " x", BAD_VALUE],
    ["a", "x\t", BAD_VALUE],
    [":path", "/\n", BAD_VALUE],
    [":odd", "x", UNKNOWN_PSEUDO],
    [":path", "x", PATH],
    ["content-length", "x", CONTENT_LENGTH],
    ["a", "x\ty", REGULAR],
    ["a", "", REGULAR],
  ])("%j: %j", (name, value, kind) => {
    const reader = new Reader();
    expect(reader.read(block([[name, value]], 0x40))).toEqual([name, value]);
    expect(reader.kinds).toEqual([kind]);
    expect(reader.read(hex("be"))).toEqual([name, value]);
    expect(reader.kinds).toEqual([kind]);
  });

  test("a good value under the name of a bad one", () => {
    const reader = new Reader();
    reader.read(block([["a", "\0"]], 0x40));
    expect(reader.read(hex("7e 01 62"))).toEqual(["a", "b"]);
    expect(reader.kinds).toEqual([REGULAR]);
  });
});

describe("the encoder", () => {
  const NAME = fc.constantFrom("x-a", "content-type", "x-request-id", "cookie", "vary", "authorization", "x-b", "accept", "date");
  const VALUE = fc.oneof(
    fc.constantFrom("", "a", "gzip, deflate", "text/plain; charset=utf-8", "x".repeat(900)),
    fc.string({ unit: fc.constantFrom(..."abcXYZ019 ,;=\xe9"), maxLength: 40 }).map((text) => text.trim()),
  );

  test("what it writes reads back, whatever the sizes of the tables", () => {
    const lists = fc.array(fc.array(fc.tuple(NAME, VALUE), { maxLength: 12 }), { maxLength: 12 });
    fc.assert(
      fc.property(
        lists,
        fc.integer({ min: 0, max: 4096 }),
        fc.array(fc.integer({ min: 0, max: 8192 }), { maxLength: 12 }),
        (all, own, sizes) => {
          const reader = new Reader();
          const writer = new Writer(own);
          for (const [i, list] of all.entries()) {
            const size = sizes[i];
            if (size !== undefined) writer.encoder.allow(Math.min(size, 4096));
            const fields = list.flat();
            expect(reader.read(writer.write(fields))).toEqual(fields);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  test("what repeats is one byte from its second or third time on", () => {
    const writer = new Writer();
    const fields = ["content-type", "text/plain", "x-own", "the same again"];
    const sizes = [1, 2, 3].map(() => writer.write(fields).length);
    expect(sizes[2]).toBe(2);
    expect(sizes[0]).toBeGreaterThan(20);
  });

  test("what does not repeat pushes nothing out", () => {
    const writer = new Writer();
    writer.write(["content-type", "text/plain"]);
    for (let i = 0; i < 500; i++) writer.write(["x-request-id", `id-${i}`, "x-unknown", `value-${i}`]);
    expect(writer.write(["content-type", "text/plain"])).toHaveLength(1);
  });

  test("secrets are never indexed, and neither is what came so", () => {
    const writer = new Writer();
    const reader = new Reader();
    for (let i = 0; i < 3; i++) {
      reader.read(writer.write(["authorization", "Bearer x", "cookie", "a=b", "set-cookie", "c=d", "x-api-key", "k"]));
      expect(reader.secret).toEqual(["authorization", "cookie", "set-cookie", "x-api-key"]);
      reader.read(writer.write(["x-a", "marked"], true));
      expect(reader.secret).toEqual(["x-a"]);
    }
  });

  test("the peer's table size is followed, in both directions, and told at the next block", () => {
    const writer = new Writer();
    writer.encoder.allow(0);
    writer.encoder.allow(8192);
    // The least in between first (RFC 7541 4.2).
    expect(Buffer.from(writer.write([])).toString("hex")).toBe("203fe11f");
    expect(writer.write([])).toHaveLength(0);
    expect(Buffer.from(new Writer(1024).write([])).toString("hex")).toBe("3fe107");
  });

  test("fields of the connection are left out, `te` but for trailers", () => {
    const fields = [
      "host",
      "a",
      "connection",
      "x",
      "keep-alive",
      "1",
      "transfer-encoding",
      "chunked",
      "upgrade",
      "x",
      "content-length",
      "3",
    ];
    expect(new Writer().write([...fields, "proxy-connection", "x", "te", "gzip"])).toHaveLength(0);
    expect(new Reader().read(new Writer().write(["te", "trailers"]))).toEqual(["te", "trailers"]);
  });

  test.each([
    ["a\nb", "x"],
    ["", "x"],
    ["Upper", "x"],
    [":path", "/"],
    [":odd", "/"],
    ["x-a", "a\r\nb"],
    ["x-a", "a\0"],
    ["x-a", "\u010a"],
  ])("%j: %j does not leave, and the tables agree afterwards", (name, value) => {
    const writer = new Writer();
    const reader = new Reader();
    reader.read(writer.write(["content-type", "a", "vary", "b"]));
    expect(() => writer.write(["accept", "new in the table", name, value])).toThrow(/must not be sent/);
    writer.out.end = 0;
    writer.encoder.abandon();
    const after = ["content-type", "a", "accept", "c", "vary", "b"];
    expect(reader.read(writer.write(after))).toEqual(after);
    expect(reader.read(writer.write(after))).toEqual(after);
  });

  test("white space at the ends of a configured value does not travel", () => {
    const writer = new Writer();
    const reader = new Reader();
    for (let i = 0; i < 3; i++) expect(reader.read(writer.write(["vary", " a\t"]))).toEqual(["vary", "a"]);
  });

  test("MAX_REMEMBERED_NAMES unknown names are remembered, not more", () => {
    const writer = new Writer();
    writer.write(["x-first", "v"]);
    for (let i = 0; i < MAX_REMEMBERED_NAMES; i++) writer.write([`x-${i}`, "v"]);
    // Forgotten: its second time counts as the first.
    expect(writer.write(["x-first", "v"]).length).toBeGreaterThan(2);
    writer.write(["x-first", "v"]);
    expect(writer.write(["x-first", "v"])).toHaveLength(1);
  });
});
