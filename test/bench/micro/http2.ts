/**
 * What a request over HTTP/2 costs, in microseconds of CPU, both ends in this process: our codec on bare sockets against `node:http2`, 8 connections with 10
 * streams each, in clear over loopback; and our codec alone, bytes handed from one end to the other. By hand:
 * `node test/bench/micro/http2.ts [--rounds N]`. Rounds are interleaved; each line is their median.
 *
 * `get`: 1 KiB comes back, with fields as nginx sends them. `grpc`: a unary call with 100 bytes each way.
 */
import { once } from "node:events";
import http2 from "node:http2";
import net from "node:net";
import { type FieldList, NO_BODY, type RequestHead, type ResponseHead, STREAM_BODY } from "../../../gateway/core/index.ts";
import { decodeLatin1 } from "../../../gateway/node/latin1.ts";
import { Http2Connection, type Http2Event, Http2Settings } from "../../../gateway/wire/index.ts";

const ROUNDS = Number(process.argv[process.argv.indexOf("--rounds") + 1]) || 5;
const REQUESTS = 20_000;
const CONNECTIONS = 8;
const STREAMS = 10;

interface Workload {
  readonly name: string;
  readonly request: RequestHead;
  readonly requestBody: Uint8Array | undefined;
  readonly response: ResponseHead;
  readonly responseBody: Uint8Array;
  readonly trailers: FieldList | undefined;
}

const GET: Workload = {
  name: "get",
  request: {
    method: "GET",
    scheme: "http",
    authority: "shop.example.com",
    target: "/api/v1/items",
    fields: ["user-agent", "bench/1.0", "accept", "*/*"],
    body: NO_BODY,
  },
  requestBody: undefined,
  response: {
    status: 200,
    fields: [
      ...["server", "nginx/1.26.3", "date", "Mon, 23 Nov 2026 04:00:00 GMT", "content-type", "application/octet-stream"],
      ...["last-modified", "Mon, 23 Nov 2026 03:00:00 GMT", "etag", '"6561c2a0-400"', "accept-ranges", "bytes"],
    ],
    body: { kind: "length", bytes: 1024 },
  },
  responseBody: Buffer.alloc(1024, 0x61),
  trailers: undefined,
};

const GRPC: Workload = {
  name: "grpc",
  request: {
    method: "POST",
    scheme: "http",
    authority: "shop.example.com",
    target: "/shop.v1.Items/Get",
    fields: ["content-type", "application/grpc", "te", "trailers", "user-agent", "grpc-go/1.70.0"],
    body: STREAM_BODY,
  },
  requestBody: Buffer.alloc(105, 0x61),
  response: { status: 200, fields: ["content-type", "application/grpc"], body: STREAM_BODY },
  responseBody: Buffer.alloc(105, 0x61),
  trailers: ["grpc-status", "0", "grpc-message", ""],
};

const serverSettings = new Http2Settings({ role: "server", decode: decodeLatin1 });
const clientSettings = new Http2Settings({ role: "client", decode: decodeLatin1 });

/** Answers each request once it is whole. */
function serve(connection: Http2Connection<unknown>, event: Http2Event<unknown>, workload: Workload): void {
  if (event.kind === "data") connection.consumed(event.stream, event.bytes.length);
  if (!((event.kind === "request" || event.kind === "data") && event.end)) return;
  const { stream } = event;
  connection.respond(stream, workload.response, false);
  connection.data(stream, workload.responseBody, workload.trailers === undefined);
  if (workload.trailers !== undefined) connection.trailers(stream, workload.trailers);
}

function ask(connection: Http2Connection<unknown>, workload: Workload): void {
  const { requestBody } = workload;
  const stream = connection.request(workload.request, requestBody === undefined, undefined);
  if (stream === undefined) throw new Error("no room for a request");
  if (requestBody !== undefined) connection.data(stream, requestBody, true);
}

/** @returns whether a response has ended */
function answered(connection: Http2Connection<unknown>, event: Http2Event<unknown>): boolean {
  if (event.kind === "error") throw new Error(event.error.message);
  if (event.kind === "data") connection.consumed(event.stream, event.bytes.length);
  return event.kind === "trailers" || (event.kind === "data" && event.end);
}

function pump(connection: Http2Connection<unknown>, bytes: Uint8Array, handle: (event: Http2Event<unknown>) => void): void {
  connection.feed(bytes, performance.now());
  for (let event = connection.next(); event.kind !== "need"; event = connection.next()) handle(event);
}

function codecAlone(workload: Workload): void {
  const server = new Http2Connection<unknown>(serverSettings);
  const client = new Http2Connection<unknown>(clientSettings);
  let left = REQUESTS;
  while (left > 0) {
    for (let i = 0; i < STREAMS; i++) ask(client, workload);
    pump(server, client.take(), (event) => serve(server, event, workload));
    pump(client, server.take(), (event) => {
      if (answered(client, event)) left--;
    });
  }
}

function glue(socket: net.Socket, connection: Http2Connection<unknown>, handle: (event: Http2Event<unknown>) => void): void {
  const flush = (): void => {
    const bytes = connection.take();
    if (bytes.length > 0) socket.write(bytes);
  };
  socket.setNoDelay(true);
  socket.on("data", (bytes: Uint8Array) => {
    pump(connection, bytes, handle);
    flush();
  });
  flush();
}

async function ours(workload: Workload): Promise<() => Promise<void>> {
  const server = net.createServer((socket) => {
    const connection = new Http2Connection<unknown>(serverSettings);
    glue(socket, connection, (event) => serve(connection, event, workload));
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as net.AddressInfo;
  let left = 0;
  let toStart = 0;
  let finished = (): void => {};
  const clients = Array.from({ length: CONNECTIONS }, () => {
    const connection = new Http2Connection<unknown>(clientSettings);
    const socket = net.connect(port, "127.0.0.1");
    glue(socket, connection, (event) => {
      if (!answered(connection, event)) return;
      if (toStart-- > 0) ask(connection, workload);
      if (--left === 0) finished();
    });
    return { connection, socket };
  });
  await Promise.all(clients.map(({ socket }) => once(socket, "connect")));
  server.unref();
  return async () => {
    const done = new Promise<void>((resolve) => {
      finished = resolve;
    });
    left = REQUESTS;
    toStart = REQUESTS - CONNECTIONS * STREAMS;
    for (const { connection, socket } of clients) {
      socket.unref();
      for (let i = 0; i < STREAMS; i++) ask(connection, workload);
      socket.write(connection.take());
      socket.ref();
    }
    await done;
    for (const { socket } of clients) socket.unref();
  };
}

const toObject = (fields: readonly string[]): Record<string, string> =>
  Object.fromEntries(fields.flatMap((name, i) => (i % 2 === 0 ? [[name, fields[i + 1] ?? ""]] : [])));

async function nodes(workload: Workload): Promise<() => Promise<void>> {
  const { request, response, trailers, responseBody } = workload;
  const length = response.body.kind === "length" ? { "content-length": String(response.body.bytes) } : {};
  const answer = { ":status": response.status, ...toObject(response.fields), ...length };
  const server = http2.createServer();
  server.on("stream", (stream: http2.ServerHttp2Stream) => {
    const respond = (): void => {
      stream.respond(answer, { waitForTrailers: trailers !== undefined });
      if (trailers !== undefined) stream.on("wantTrailers", () => stream.sendTrailers(toObject(trailers)));
      stream.end(responseBody);
    };
    if (request.body.kind === "none") respond();
    else stream.on("data", () => {}).on("end", respond);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as net.AddressInfo;
  server.unref();
  const clients = Array.from({ length: CONNECTIONS }, () => http2.connect(`http://127.0.0.1:${port}`));
  await Promise.all(clients.map((client) => once(client, "connect")));
  const head = {
    ":method": request.method,
    ":scheme": request.scheme,
    ":authority": request.authority,
    ":path": request.target,
    ...toObject(request.fields),
  };
  return async () => {
    let left = REQUESTS;
    let toStart = REQUESTS - CONNECTIONS * STREAMS;
    await new Promise<void>((resolve) => {
      const start = (client: http2.ClientHttp2Session): void => {
        const stream = client.request(head, { endStream: workload.requestBody === undefined });
        if (workload.requestBody !== undefined) stream.end(workload.requestBody);
        stream
          .on("data", () => {})
          .on("end", () => {
            if (toStart-- > 0) start(client);
            if (--left === 0) resolve();
          });
      };
      for (const client of clients) {
        client.ref();
        for (let i = 0; i < STREAMS; i++) start(client);
      }
    });
    for (const client of clients) client.unref();
  };
}

async function cpuUs(run: () => void | Promise<void>): Promise<number> {
  const before = process.cpuUsage();
  await run();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / REQUESTS;
}

const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

for (const workload of [GET, GRPC]) {
  const runs = [
    ["codec alone", () => codecAlone(workload)],
    ["our codec on sockets", await ours(workload)],
    ["node:http2", await nodes(workload)],
  ] as const;
  const figures = runs.map((): number[] => []);
  for (let round = -1; round < ROUNDS; round++) {
    for (const [i, [, run]] of runs.entries()) {
      const us = await cpuUs(run);
      // The first round is for the compiler.
      if (round >= 0) figures[i]?.push(us);
    }
  }
  const medians = figures.map(median);
  for (const [i, [name]] of runs.entries())
    console.log(`${workload.name.padEnd(5)} ${name.padEnd(22)} ${medians[i]?.toFixed(2).padStart(7)} µs per request`);
  console.log(
    `${workload.name.padEnd(5)} node:http2 takes ${((medians[2] ?? 0) / (medians[1] ?? 1)).toFixed(1)} times as much\n`,
  );
}
process.exit();
