/** The first request to a proxy: what it answers is looked at closely, so that no figure is of something else than the row says. */
import { request as plainRequest } from "node:http";
import { type ClientHttp2Session, connect, constants, type IncomingHttpHeaders } from "node:http2";
import { request as tlsRequest } from "node:https";
import { BODY_BYTES } from "../workload.ts";
import { grpcMessage } from "./grpc-message.ts";

const TIMEOUT_MS = 5_000;

export interface Expectation {
  /** Of the answer's body. */
  readonly bytes: number;
  /** Body to send; GET without. */
  readonly upload?: Buffer;
}

export interface Http1Check {
  readonly port: number;
  readonly path: string;
  readonly tls: boolean;
  readonly headers: Readonly<Record<string, string>>;
  readonly expect: Expectation;
}

export function checkHttp1({ port, path, tls, headers, expect }: Http1Check): Promise<string | undefined> {
  return new Promise((resolve) => {
    const request = (tls ? tlsRequest : plainRequest)(
      {
        ...{ host: "127.0.0.1", port, path, headers, agent: false as const, rejectUnauthorized: false },
        method: expect.upload === undefined ? "GET" : "POST",
        signal: AbortSignal.timeout(TIMEOUT_MS),
      },
      (response) => {
        let bytes = 0;
        response.on("data", (chunk: Buffer) => {
          bytes += chunk.length;
        });
        response.once("error", (error) => resolve(error.message));
        response.once("end", () => {
          if (response.statusCode !== 200) resolve(`answered ${response.statusCode}`);
          else resolve(bytes === expect.bytes ? undefined : `answered with ${bytes} bytes instead of ${expect.bytes}`);
        });
      },
    );
    request.once("error", (error) => resolve(error.message));
    request.end(expect.upload);
  });
}

export interface Http2Check {
  readonly port: number;
  readonly path: string;
  readonly tls: boolean;
  readonly grpc: boolean;
}

export async function checkHttp2({ port, path, tls, grpc }: Http2Check): Promise<string | undefined> {
  const session = connect(`${tls ? "https" : "http"}://127.0.0.1:${port}`, { rejectUnauthorized: false });
  const timeout = setTimeout(() => session.destroy(new Error(`no answer in ${TIMEOUT_MS} ms`)), TIMEOUT_MS);
  try {
    const { status, bytes, trailers } = await exchange(session, path, grpc);
    if (status !== 200) return `answered ${status}`;
    if (grpc) return trailers["grpc-status"] === "0" ? undefined : `answered grpc-status ${trailers["grpc-status"] ?? "none"}`;
    return bytes === BODY_BYTES ? undefined : `answered with ${bytes} bytes instead of ${BODY_BYTES}`;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return message.includes("no application protocol") ? "HTTP/2 is not among the protocols that it offers (ALPN)" : message;
  } finally {
    clearTimeout(timeout);
    session.destroy();
  }
}

interface Http2Answer {
  readonly status: number | undefined;
  readonly bytes: number;
  readonly trailers: IncomingHttpHeaders;
}

function exchange(session: ClientHttp2Session, path: string, grpc: boolean): Promise<Http2Answer> {
  return new Promise((resolve, reject) => {
    session.once("error", reject);
    const fields = grpc ? { "content-type": "application/grpc", te: "trailers" } : {};
    const stream = session.request({ [constants.HTTP2_HEADER_METHOD]: grpc ? "POST" : "GET", ":path": path, ...fields });
    let status: number | undefined;
    let bytes = 0;
    let trailers: IncomingHttpHeaders = {};
    stream.once("response", (head) => {
      status = head[":status"];
      // An answer that is all head has its trailers there.
      if (head["grpc-status"] !== undefined) trailers = head;
    });
    stream.once("trailers", (head) => {
      trailers = head;
    });
    stream.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
    });
    stream.once("error", reject);
    stream.once("close", () => {
      if (status === undefined) reject(new Error("the stream was closed without an answer"));
      else resolve({ status, bytes, trailers });
    });
    stream.end(grpc ? grpcMessage("a call") : undefined);
  });
}
