/** What the sample's services share: a listener that answers JSON or HTML, and calls that go through the mesh. */
import {
  Agent,
  createServer,
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";

export interface Reply {
  readonly status?: number;
  readonly type?: "application/json" | "text/html; charset=utf-8" | "text/css; charset=utf-8";
  readonly body: string;
}

export type Handler = (request: { readonly path: string; readonly headers: IncomingHttpHeaders }) => Promise<Reply> | Reply;

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Where the services find the mesh. */
export interface MeshAddress {
  /** Ingress gateway, `http://host:port`: services call one another through it. */
  readonly ingress: URL;
  /** Egress gateway, `http://host:port`: the way to anything outside. */
  readonly egress: URL;
}

/** Headers that a service passes on, so that routing by user and tracing hold along the whole call. */
const PASSED_ON = ["end-user", "x-request-id", "traceparent", "tracestate"];
const CALL_TIMEOUT_MS = 10_000;
const agent = new Agent({ keepAlive: true });

export async function serve(port: number, handler: Handler): Promise<Server> {
  const server = createServer((request, response) => void answer(request, response, handler));
  server.keepAliveTimeout = 75_000;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  return server;
}

async function answer(request: IncomingMessage, response: ServerResponse, handler: Handler): Promise<void> {
  try {
    const path = new URL(request.url ?? "/", "http://service").pathname;
    const { status = 200, type = "application/json", body } = await handler({ path, headers: request.headers });
    response.writeHead(status, { "content-type": type }).end(request.method === "HEAD" ? undefined : body);
  } catch (error) {
    response.writeHead(500, { "content-type": "application/json" }).end(JSON.stringify({ error: String(error) }));
  }
}

/** GET to another service of the mesh, by path. */
export function callMesh(mesh: MeshAddress, path: string, headers: IncomingHttpHeaders): Promise<Answer> {
  return get({
    host: mesh.ingress.hostname,
    port: mesh.ingress.port,
    path,
    headers: { host: "bookinfo.localhost", ...passedOn(headers) },
  });
}

/** GET to the world outside, through the egress gateway (absolute form). */
export function callOutside(mesh: MeshAddress, url: string, headers: IncomingHttpHeaders): Promise<Answer> {
  const { host } = new URL(url);
  return get({ host: mesh.egress.hostname, port: mesh.egress.port, path: url, headers: { host, ...passedOn(headers) } });
}

function passedOn(headers: IncomingHttpHeaders): Record<string, string> {
  return Object.fromEntries(PASSED_ON.flatMap((name) => (typeof headers[name] === "string" ? [[name, headers[name]]] : [])));
}

function get(target: { host: string; port: string; path: string; headers: Record<string, string> }): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = httpRequest({ ...target, agent, timeout: CALL_TIMEOUT_MS }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => {
        body += part;
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
      response.on("error", reject);
    });
    call.on("timeout", () => call.destroy(new Error(`no answer within ${CALL_TIMEOUT_MS / 1000} s`)));
    call.on("error", reject);
    call.end();
  });
}
