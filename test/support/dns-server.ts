/** A name server on loopback that knows what it is told (RFC 1035 4), for tests of resolving. */
import { createSocket, type Socket } from "node:dgram";

const TYPE_A = 1;
const TYPE_AAAA = 28;
const NAME_ERROR = 3;
/** QR, RD and RA. */
const ANSWER_FLAGS = 0x8180;
/** The question's name, at the first byte after the header. */
const NAME_POINTER = 0xc00c;

export interface Zone {
  /** IPv4 addresses; IPv6 ones as 16 bytes. */
  readonly a?: readonly string[];
  readonly aaaa?: readonly Uint8Array[];
  readonly ttlS: number;
}

export class NameServer {
  readonly zones = new Map<string, Zone>();
  readonly asked: string[] = [];
  readonly #socket: Socket = createSocket("udp4");
  address = "";

  async start(): Promise<this> {
    this.#socket.on("message", (question, { port, address }) => this.#socket.send(this.#answer(question), port, address));
    await new Promise<void>((resolve) => this.#socket.bind(0, "127.0.0.1", resolve));
    this.address = `127.0.0.1:${this.#socket.address().port}`;
    return this;
  }

  stop(): void {
    this.#socket.close();
  }

  #answer(question: Buffer): Buffer {
    const { name, end } = readName(question, 12);
    const type = question.readUInt16BE(end);
    this.asked.push(`${name} ${type}`);
    const zone = this.zones.get(name);
    const data =
      type === TYPE_A
        ? (zone?.a ?? []).map((text) => Buffer.from(text.split(".").map(Number)))
        : type === TYPE_AAAA
          ? (zone?.aaaa ?? []).map((bytes) => Buffer.from(bytes))
          : [];
    const header = Buffer.alloc(12);
    header.writeUInt16BE(question.readUInt16BE(0), 0);
    header.writeUInt16BE(ANSWER_FLAGS | (zone === undefined ? NAME_ERROR : 0), 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(data.length, 6);
    const records = data.map((bytes) => {
      const record = Buffer.alloc(12);
      record.writeUInt16BE(NAME_POINTER, 0);
      record.writeUInt16BE(type, 2);
      record.writeUInt16BE(1, 4);
      record.writeUInt32BE(zone?.ttlS ?? 0, 6);
      record.writeUInt16BE(bytes.length, 10);
      return Buffer.concat([record, bytes]);
    });
    return Buffer.concat([header, question.subarray(12, end + 4), ...records]);
  }
}

function readName(message: Buffer, from: number): { readonly name: string; readonly end: number } {
  const labels: string[] = [];
  let at = from;
  for (let length = message[at] ?? 0; length > 0; length = message[at] ?? 0) {
    labels.push(message.toString("latin1", at + 1, at + 1 + length));
    at += length + 1;
  }
  return { name: labels.join(".").toLowerCase(), end: at + 1 };
}
