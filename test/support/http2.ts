/** HTTP/2 clients and origins for tests, by Node's own library: a second opinion on both ends of the gateway. */
import { once } from "node:events";
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type ClientSessionOptions,
  connect,
  constants,
  createSecureServer,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type SecureClientSessionOptions,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type ServerOptions,
} from "node:http2";
import { listening } from "./gateway.ts";

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** The same as a flat list in the order in which they came, without pseudo-header fields. */
  readonly fields: readonly string[];
  readonly body: Buffer;
  readonly trailers: IncomingHttpHeaders | undefined;
  readonly interims: readonly number[];
}

export interface Asked {
  readonly body?: string | Buffer;
  readonly trailers?: OutgoingHttpHeaders;
}

export class Http2Client {
  readonly session: ClientHttp2Session;
  /** What GOAWAY said last; before that no stream is refused by it. */
  #lastTaken = -1;

  constructor(url: string, options: ClientSessionOptions | SecureClientSessionOptions = {}) {
    this.session = connect(url, options);
    this.session.on("error", () => undefined);
    this.session.on("goaway", (_code, lastStream) => {
      this.#lastTaken = lastStream;
    });
  }

  stream(headers: OutgoingHttpHeaders, endStream = false): ClientHttp2Stream {
    const stream = this.session.request(headers, { endStream });
    stream.on("error", () => undefined);
    return stream;
  }

  /** @throws Error when the stream is reset before it has ended */
  async ask(headers: OutgoingHttpHeaders, { body, trailers }: Asked = {}): Promise<Answer> {
    const stream = this.session.request(headers, { endStream: body === undefined, waitForTrailers: trailers !== undefined });
    if (trailers !== undefined) stream.on("wantTrailers", () => stream.sendTrailers(trailers));
    if (body !== undefined) stream.end(body);
    return answerOf(stream);
  }

  /**
   * The answer; undefined when the library gave the request up by itself. Once it has read GOAWAY it sends none that it had queued before, although
   * that GOAWAY lets them through by its last stream id. A request that the peer's last GOAWAY leaves out was refused, and fails.
   */
  async askUnlessTold(headers: OutgoingHttpHeaders): Promise<Answer | undefined> {
    const stream = this.stream(headers, true);
    try {
      return await answerOf(stream);
    } catch (error) {
      if (stream.rstCode === constants.NGHTTP2_REFUSED_STREAM && (stream.id ?? 0) <= this.#lastTaken) return undefined;
      throw error;
    }
  }

  close(): void {
    this.session.destroy();
  }
}

export async function answerOf(stream: ClientHttp2Stream): Promise<Answer> {
  const chunks: Buffer[] = [];
  const interims: number[] = [];
  let trailers: IncomingHttpHeaders | undefined;
  stream.on("headers", (headers) => interims.push(Number(headers[":status"])));
  stream.on("trailers", (fields) => {
    trailers = fields;
  });
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  const [[headers, , raw]] = (await Promise.all([once(stream, "response"), once(stream, "close")])) as [
    [IncomingHttpHeaders, number, readonly string[]],
    unknown,
  ];
  if (stream.rstCode !== 0) throw new Error(`reset with ${stream.rstCode}`);
  const fields = raw.filter((_, i) => raw[i - (i % 2)]?.startsWith(":") === false);
  return { status: Number(headers[":status"]), headers, fields, body: Buffer.concat(chunks), trailers, interims };
}

/** An origin that speaks HTTP/2 and nothing else, with or without TLS. */
export class Http2Origin {
  readonly server: Http2Server;
  readonly sessions: ServerHttp2Session[] = [];
  readonly requests: IncomingHttpHeaders[] = [];
  port = 0;

  constructor(
    play: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void,
    options: ServerOptions = {},
    tls?: { readonly key: string; readonly cert: string },
  ) {
    this.server = tls === undefined ? createServer(options) : createSecureServer({ ...options, ...tls });
    this.server.on("session", (session) => this.sessions.push(session));
    this.server.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      stream.on("error", () => undefined);
      this.requests.push(headers);
      play(stream, headers);
    });
  }

  async start(): Promise<this> {
    this.port = await listening(this.server);
    return this;
  }

  close(): void {
    for (const session of this.sessions) session.destroy();
    this.server.close();
  }
}
