/** gRPC through the gateway, with grpc-js as client and as server; gRPC-Web by hand. */
import * as grpc from "@grpc/grpc-js";
import { afterEach, describe, expect, it } from "vitest";

import {
  CLUSTER,
  freePort,
  RawClient,
  type TestSnapshot,
  testGateway,
  testListener,
  testRoute,
  testSnapshot,
} from "../support/gateway.ts";

const opened: (() => unknown)[] = [];
afterEach(() => {
  for (const close of opened.splice(0).reverse()) close();
});

const raw = (bytes: Buffer): Buffer => bytes;
const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
  path: `/test.Echo/${name}`,
  requestStream,
  responseStream,
  requestSerialize: raw,
  requestDeserialize: raw,
  responseSerialize: raw,
  responseDeserialize: raw,
});
const SERVICE = {
  unary: method("Unary", false, false),
  down: method("Down", false, true),
  up: method("Up", true, false),
  both: method("Both", true, true),
};

type Call = grpc.ServerUnaryCall<Buffer, Buffer>;

/** What the origin saw. */
interface Seen {
  readonly metadata: grpc.Metadata[];
  calls: number;
}

/** `fails`: statuses with which the first unary calls are answered, without content. */
async function origin(fails: readonly number[] = []): Promise<{ readonly port: number; readonly seen: Seen }> {
  const seen: Seen = { metadata: [], calls: 0 };
  const server = new grpc.Server();
  server.addService(SERVICE, {
    unary(call: Call, done: grpc.sendUnaryData<Buffer>) {
      seen.metadata.push(call.metadata);
      const code = fails[seen.calls++];
      if (code !== undefined) return done({ code, details: "on purpose – ünd" });
      if (call.request.toString() === "hang") return;
      const trailer = new grpc.Metadata();
      trailer.set("x-trailer", "t");
      done(null, call.request, trailer);
    },
    down(call: grpc.ServerWritableStream<Buffer, Buffer>) {
      for (let i = 0; i < 5; i++) call.write(Buffer.from(`${i}`));
      call.end();
    },
    up(call: grpc.ServerReadableStream<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) {
      const parts: Buffer[] = [];
      call.on("data", (part: Buffer) => parts.push(part)).on("end", () => done(null, Buffer.concat(parts)));
    },
    both(call: grpc.ServerDuplexStream<Buffer, Buffer>) {
      call
        .on("data", (part: Buffer) => call.write(part))
        .on("end", () => {
          call.emit("error", { code: grpc.status.ABORTED, details: "after all" });
        });
    },
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  opened.push(() => server.forceShutdown());
  return { port, seen };
}

interface Client extends grpc.Client {
  unary(
    request: Buffer,
    metadata: grpc.Metadata,
    options: grpc.CallOptions,
    done: (error: grpc.ServiceError | null, response?: Buffer) => void,
  ): grpc.ClientUnaryCall;
  down(request: Buffer): grpc.ClientReadableStream<Buffer>;
  up(done: (error: grpc.ServiceError | null, response?: Buffer) => void): grpc.ClientWritableStream<Buffer>;
  both(): grpc.ClientDuplexStream<Buffer, Buffer>;
}

async function gateway(originPort: number, change: Partial<TestSnapshot> = {}): Promise<number> {
  const port = await freePort();
  const made = testGateway();
  opened.push(() => void made.engine.drain(0));
  await made.install(
    testSnapshot({
      listeners: [testListener(port)],
      originPorts: [originPort],
      ...change,
      cluster: { protocol: "http2", ...change.cluster },
    }),
  );
  return port;
}

function clientOf(port: number): Client {
  const ClientClass = grpc.makeGenericClientConstructor(SERVICE, "Echo");
  const client = new ClientClass(`127.0.0.1:${port}`, grpc.credentials.createInsecure()) as unknown as Client;
  opened.push(() => client.close());
  return client;
}

interface Ended {
  readonly code: number;
  readonly details: string;
  readonly response: string | undefined;
  readonly trailers: grpc.Metadata | undefined;
}

function ask(client: Client, body: string, metadata = new grpc.Metadata(), options: grpc.CallOptions = {}): Promise<Ended> {
  return new Promise((resolve) => {
    let trailers: grpc.Metadata | undefined;
    const call = client.unary(Buffer.from(body), metadata, options, (error, response) => {
      const ended = { code: error?.code ?? 0, details: error?.details ?? "", response: response?.toString() };
      // The status event comes after the callback.
      setImmediate(() => resolve({ ...ended, trailers }));
    });
    call.on("status", (status) => {
      trailers = status.metadata;
    });
  });
}

describe("calls", () => {
  it("unary, with metadata both ways", async () => {
    const { port, seen } = await origin();
    const client = clientOf(await gateway(port));
    const metadata = new grpc.Metadata();
    metadata.set("x-a", "b");
    metadata.set("x-bytes-bin", Buffer.from([0, 255, 10]));
    const ended = await ask(client, "hello", metadata);
    expect(ended).toMatchObject({ code: 0, response: "hello" });
    expect(ended.trailers?.get("x-trailer")).toEqual(["t"]);
    expect(seen.metadata[0]?.get("x-a")).toEqual(["b"]);
    expect(seen.metadata[0]?.get("x-bytes-bin")).toEqual([Buffer.from([0, 255, 10])]);
  });

  it("streams, in each direction and in both", async () => {
    const { port } = await origin();
    const client = clientOf(await gateway(port));
    const down = await new Promise<string>((resolve, reject) => {
      let text = "";
      client
        .down(Buffer.alloc(0))
        .on("data", (part: Buffer) => (text += part.toString()))
        .on("end", () => resolve(text))
        .on("error", reject);
    });
    expect(down).toBe("01234");
    const up = await new Promise<string>((resolve, reject) => {
      const call = client.up((error, response) => (error ? reject(error) : resolve(response?.toString() ?? "")));
      for (const part of ["a", "b", "c"]) call.write(Buffer.from(part));
      call.end();
    });
    expect(up).toBe("abc");
    const both = await new Promise<string>((resolve) => {
      const call = client.both();
      let text = "";
      // Each message comes back before the next one is sent.
      call.on("data", (part: Buffer) => {
        text += part.toString();
        if (text.length < 3) call.write(Buffer.from(`${text.length}`));
        else call.end();
      });
      call.on("error", (error: grpc.ServiceError) => resolve(`${text} ${error.code} ${error.details}`));
      call.write(Buffer.from("0"));
    });
    expect(both).toBe("012 10 after all");
  });

  it("a failed one keeps its status and its message", async () => {
    const { port } = await origin([grpc.status.NOT_FOUND]);
    expect(await ask(clientOf(await gateway(port)), "x")).toMatchObject({ code: 5, details: "on purpose – ünd" });
  });
});

describe("what the gateway says itself", () => {
  it("no route", async () => {
    const { port } = await origin();
    const client = clientOf(await gateway(port, { routes: [] }));
    expect(await ask(client, "x")).toMatchObject({ code: grpc.status.UNIMPLEMENTED, details: "no route" });
  });

  it("nobody there", async () => {
    expect(await ask(clientOf(await gateway(await freePort())), "x")).toMatchObject({ code: grpc.status.UNAVAILABLE });
  });

  it("a route for one method", async () => {
    const { port } = await origin();
    const routes = [testRoute(CLUSTER, {}, { matches: [{ path: { kind: "exact", value: "/test.Echo/Unary" } }] })];
    const client = clientOf(await gateway(port, { routes }));
    expect(await ask(client, "x")).toMatchObject({ code: 0 });
    const other = await new Promise((resolve) => client.up((error) => resolve(error?.code)).end());
    expect(other).toBe(grpc.status.UNIMPLEMENTED);
  });

  it("the client's deadline travels, and the route's ends a call that has none", async () => {
    const { port, seen } = await origin();
    const client = clientOf(await gateway(port, { routes: [testRoute(CLUSTER, { timeoutMs: 300 })] }));
    expect(await ask(client, "hang")).toMatchObject({ code: grpc.status.DEADLINE_EXCEEDED });
    expect(await ask(client, "x", new grpc.Metadata(), { deadline: Date.now() + 60_000 })).toMatchObject({ code: 0 });
    expect(seen.calls).toBe(2);
  });
});

it("a call on which nothing moves for too long ends as one of gRPC", async () => {
  const { port } = await origin();
  const client = clientOf(await gateway(port, { http: { streamIdleTimeoutMs: 300 } }));
  expect(await ask(client, "hang")).toMatchObject({ code: grpc.status.DEADLINE_EXCEEDED });
});

describe("attempts", () => {
  const retry = {
    attempts: 1,
    on: ["unavailable"] as const,
    statusCodes: [],
    backoffBaseMs: 1,
    backoffMaxMs: 1,
    nonIdempotent: true,
  };

  it("a call that was refused with a status to try again", async () => {
    const { port, seen } = await origin([grpc.status.UNAVAILABLE]);
    const client = clientOf(await gateway(port, { routes: [testRoute(CLUSTER, { retry })] }));
    expect(await ask(client, "once more")).toMatchObject({ code: 0, response: "once more" });
    expect(seen.calls).toBe(2);
  });

  it("not with another one", async () => {
    const { port, seen } = await origin([grpc.status.INTERNAL]);
    const client = clientOf(await gateway(port, { routes: [testRoute(CLUSTER, { retry })] }));
    expect(await ask(client, "x")).toMatchObject({ code: grpc.status.INTERNAL });
    expect(seen.calls).toBe(1);
  });
});

describe("gRPC-Web from HTTP/1.1", () => {
  const message = (text: string): Buffer => Buffer.concat([Buffer.from([0, 0, 0, 0, text.length]), Buffer.from(text)]);

  async function post(
    port: number,
    type: string,
    body: Buffer,
  ): Promise<{ readonly type: string | null; readonly body: Buffer; readonly status: string | null }> {
    const response = await fetch(`http://127.0.0.1:${port}/test.Echo/Unary`, {
      method: "POST",
      headers: { "content-type": type },
      body: new Uint8Array(body),
    });
    return {
      type: response.headers.get("content-type"),
      status: response.headers.get("grpc-status"),
      body: Buffer.from(await response.arrayBuffer()),
    };
  }

  it("binary", async () => {
    const { port } = await origin();
    const answer = await post(await gateway(port, { cluster: { grpcWeb: true } }), "application/grpc-web+proto", message("hi"));
    expect(answer.type).toBe("application/grpc-web+proto");
    expect(answer.body.subarray(0, 7)).toEqual(message("hi"));
    expect(answer.body[7]).toBe(0x80);
    const trailers = answer.body.subarray(12).toString();
    expect(answer.body.readUInt32BE(8)).toBe(trailers.length);
    expect(trailers).toContain("grpc-status: 0\r\n");
    expect(trailers).toContain("x-trailer: t\r\n");
  });

  it("text", async () => {
    const { port, seen } = await origin();
    const via = await gateway(port, { cluster: { grpcWeb: true } });
    const answer = await post(via, "application/grpc-web-text", Buffer.from(message("hello").toString("base64")));
    expect(answer.type).toBe("application/grpc-web-text+proto");
    const decoded = answer.body.toString().match(/[^=]+={0,2}/g) ?? [];
    const body = Buffer.concat(decoded.map((part) => Buffer.from(part, "base64")));
    expect(body.subarray(0, 10)).toEqual(message("hello"));
    expect(body.subarray(10).toString("latin1")).toContain("grpc-status: 0\r\n");
    expect(seen.calls).toBe(1);
  });

  it("a call that fails at once has its status in the head", async () => {
    const { port } = await origin([grpc.status.NOT_FOUND]);
    const answer = await post(await gateway(port, { cluster: { grpcWeb: true } }), "application/grpc-web", message("x"));
    expect(answer).toMatchObject({ type: "application/grpc-web+proto", status: "5" });
    expect(answer.body).toHaveLength(0);
  });

  it("by the server that clients come in by", async () => {
    const { port } = await origin();
    const at = await freePort();
    const servers = [{ name: "test", serverNames: ["*"], routeTable: "main", grpcWeb: true }];
    await gateway(port, { listeners: [testListener(at, { servers })] });
    const answer = await post(at, "application/grpc-web+proto", message("hi"));
    expect(answer.type).toBe("application/grpc-web+proto");
    expect(answer.body.subarray(0, 7)).toEqual(message("hi"));
    expect(answer.body.subarray(12).toString()).toContain("grpc-status: 0\r\n");
  });

  it("text that is no base64 goes nowhere", async () => {
    const { port, seen } = await origin();
    const client = new RawClient(await gateway(port, { cluster: { grpcWeb: true } }));
    opened.push(() => client.close());
    client.send(
      "POST /test.Echo/Unary HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc-web-text\r\ncontent-length: 4\r\n\r\n!!!!",
    );
    await client.until((received) => received.includes("grpc-status: 3\r\n"));
    expect(client.received).toContain("content-type: application/grpc-web-text+proto\r\n");
    expect(seen.calls).toBe(0);
  });
});
