/** A relay that plays whatever a test wants: WebSocket frames written by hand (RFC 6455 5.2), and answers over plain HTTP. */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { listening } from "./gateway.ts";

const TEXT = 1;
const BINARY = 2;
const CLOSE = 8;

/** One WebSocket connection, from the server's side. */
export class Peer {
  readonly received: (string | Buffer)[] = [];
  readonly #socket: Socket;
  readonly #onFrame: (peer: Peer, frame: string | Buffer) => void;
  #bytes = Buffer.alloc(0);

  constructor(socket: Socket, onFrame: (peer: Peer, frame: string | Buffer) => void) {
    this.#socket = socket;
    this.#onFrame = onFrame;
    socket.on("data", (bytes: Buffer) => this.#read(bytes));
    socket.on("error", () => undefined);
  }

  send(message: unknown): void {
    this.frame(TEXT, Buffer.from(typeof message === "string" ? message : JSON.stringify(message)));
  }

  binary(bytes: Uint8Array): void {
    this.frame(BINARY, bytes);
  }

  /** @param declared length in the frame's head, if other than the payload's */
  frame(opcode: number, payload: Uint8Array, declared = payload.byteLength): void {
    const head = Buffer.alloc(10);
    head[0] = 0x80 | opcode;
    head[1] = 127;
    head.writeBigUInt64BE(BigInt(declared), 2);
    // Shorter lengths have shorter forms, and only those are valid.
    if (declared < 126) this.#socket.write(Buffer.concat([Buffer.from([0x80 | opcode, declared]), payload]));
    else if (declared < 65_536)
      this.#socket.write(Buffer.concat([Buffer.from([0x80 | opcode, 126, declared >> 8, declared & 255]), payload]));
    else this.#socket.write(Buffer.concat([head, payload]));
  }

  close(code: number, reason: string): void {
    this.frame(CLOSE, Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]));
    this.#socket.end();
  }

  raw(bytes: string): void {
    this.#socket.write(bytes);
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #read(bytes: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
    for (;;) {
      const [first = 0, second = 0] = this.#bytes;
      const short = second & 127;
      const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0;
      const start = 2 + lengthBytes + 4;
      if (this.#bytes.length < start) return;
      const length =
        lengthBytes === 0 ? short : lengthBytes === 2 ? this.#bytes.readUInt16BE(2) : Number(this.#bytes.readBigUInt64BE(2));
      if (this.#bytes.length < start + length) return;
      const mask = this.#bytes.subarray(start - 4, start);
      const payload = Buffer.from(this.#bytes.subarray(start, start + length)).map((byte, i) => byte ^ (mask[i % 4] ?? 0));
      this.#bytes = this.#bytes.subarray(start + length);
      const opcode = first & 15;
      if (opcode !== TEXT && opcode !== BINARY) continue;
      const frame = opcode === TEXT ? Buffer.from(payload).toString() : Buffer.from(payload);
      this.received.push(frame);
      this.#onFrame(this, frame);
    }
  }
}

export interface HostileScript {
  /** Undefined: upgrades are not answered with a WebSocket; what `upgrade` writes is all there is. */
  readonly connected?: (peer: Peer) => void;
  readonly frame?: (peer: Peer, frame: string | Buffer) => void;
  readonly upgrade?: (socket: Socket) => void;
  readonly request?: (request: IncomingMessage, body: Buffer, response: ServerResponse) => void;
}

export class HostileRelay {
  readonly port: number;
  readonly peers: Peer[] = [];
  /** `METHOD path` of each request that was no upgrade. */
  readonly requests: string[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.port = port;
  }

  static async start(script: HostileScript): Promise<HostileRelay> {
    const server = createServer();
    const relay = new HostileRelay(server, await listening(server));
    server.on("connection", (socket) => {
      relay.#sockets.add(socket);
      socket.once("close", () => relay.#sockets.delete(socket));
    });
    server.on("request", (request, response) => {
      relay.requests.push(`${request.method} ${request.url}`);
      const parts: Buffer[] = [];
      request.on("data", (part: Buffer) => parts.push(part));
      request.on("end", () => {
        if (script.request === undefined) response.writeHead(404).end();
        else script.request(request, Buffer.concat(parts), response);
      });
    });
    server.on("upgrade", (request: IncomingMessage, socket: Socket) => {
      socket.on("error", () => undefined);
      if (script.connected === undefined) {
        script.upgrade?.(socket);
        if (script.upgrade === undefined) socket.end("HTTP/1.1 501 Not Implemented\r\nconnection: close\r\n\r\n");
        return;
      }
      const accept = createHash("sha1").update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`);
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ${accept.digest("base64")}\r\n\r\n`,
      );
      const peer = new Peer(socket, (from, frame) => script.frame?.(from, frame));
      relay.peers.push(peer);
      script.connected(peer);
    });
    return relay;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  end(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}
