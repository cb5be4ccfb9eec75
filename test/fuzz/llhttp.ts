/**
 * Node's own parser, fed directly, strict as it is by default.
 *
 * It is reached through the module that `node:http` itself takes it from: a `node:http` server would add rules of its own and hide which
 * of the two disagrees. Node is pinned in package.json, so the module cannot change unseen.
 */
import { createRequire } from "node:module";

export interface OracleMessage {
  readonly method: string;
  readonly url: string;
  readonly status: number;
  readonly minor: number;
  readonly fields: readonly string[];
  readonly keepAlive: boolean;
  body: string;
  trailers: readonly string[];
  ended: boolean;
}

export interface OracleReading {
  readonly messages: readonly OracleMessage[];
  /** llhttp's error code, such as HPE_INVALID_METHOD. */
  readonly error: string | undefined;
  /** It handed the connection over (CONNECT, Upgrade) and read no further. */
  readonly handedOver: boolean;
}

interface Parser {
  initialize(type: number, resource: object, maxHeaderSize: number, lenientFlags: number): void;
  execute(bytes: Uint8Array): number | (Error & { code?: string });
  finish(): undefined | (Error & { code?: string });
  [callback: number]: (...args: never[]) => unknown;
}
interface ParserClass {
  new (): Parser;
  readonly REQUEST: number;
  readonly RESPONSE: number;
  readonly kOnHeaders: number;
  readonly kOnHeadersComplete: number;
  readonly kOnBody: number;
  readonly kOnMessageComplete: number;
}

const { HTTPParser, methods } = createRequire(import.meta.url)("_http_common") as {
  HTTPParser: ParserClass;
  methods: readonly string[];
};

/** The only methods it knows. */
export const ORACLE_METHODS: ReadonlySet<string> = new Set(methods);

/** Reads requests, or responses to `method`; `eof` tells it that the connection has ended. */
export function readWithOracle(kind: "request" | "response", bytes: Uint8Array, method: string, eof: boolean): OracleReading {
  const parser = new HTTPParser();
  parser.initialize(kind === "request" ? HTTPParser.REQUEST : HTTPParser.RESPONSE, {}, 1 << 20, 0);
  const messages: OracleMessage[] = [];
  let current: OracleMessage | undefined;
  let early: string[] = [];
  let earlyUrl = "";
  let handedOver = false;
  // Called with a part of the fields when there are many, and with the trailers.
  parser[HTTPParser.kOnHeaders] = (fields: string[], url: string) => {
    if (current === undefined) {
      early = early.concat(fields);
      earlyUrl += url;
    } else current.trailers = current.trailers.concat(fields);
  };
  parser[HTTPParser.kOnHeadersComplete] = (
    _major: number,
    minor: number,
    fields: string[] | undefined,
    methodIndex: number | undefined,
    url: string | undefined,
    status: number | undefined,
    _reason: string | undefined,
    upgrade: boolean,
    keepAlive: boolean,
  ) => {
    const requestMethod = methodIndex === undefined ? "" : (methods[methodIndex] ?? "?");
    current = {
      method: requestMethod,
      url: url ?? earlyUrl,
      status: status ?? 0,
      minor,
      fields: fields ?? early,
      keepAlive,
      body: "",
      trailers: [],
      ended: false,
    };
    messages.push(current);
    early = [];
    earlyUrl = "";
    if (kind === "response") {
      // What node:http tells it about responses that only the request explains.
      if (method === "CONNECT" && current.status < 300 && current.status >= 200) return hand();
      if (current.status === 101) return hand();
      return method === "HEAD" ? 1 : 0;
    }
    return upgrade && requestMethod === "CONNECT" ? hand() : 0;
  };
  const hand = (): 2 => {
    handedOver = true;
    return 2;
  };
  parser[HTTPParser.kOnBody] = (chunk: Uint8Array) => {
    if (current !== undefined) current.body += Buffer.from(chunk).toString("latin1");
  };
  parser[HTTPParser.kOnMessageComplete] = () => {
    if (current !== undefined) current.ended = true;
    current = undefined;
  };
  const parsed = parser.execute(Buffer.from(bytes));
  let error = parsed instanceof Error ? (parsed.code ?? parsed.message) : undefined;
  if (typeof parsed === "number" && parsed < bytes.length) handedOver = true;
  if (eof && error === undefined && !handedOver) {
    const finished = parser.finish();
    if (finished instanceof Error) error = finished.code ?? finished.message;
  }
  return { messages, error, handedOver };
}
