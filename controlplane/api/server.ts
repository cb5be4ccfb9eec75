/** The HTTP side of the operator's API: who asks, whether the question is well formed, and how the answer travels. */
import { createHash, timingSafeEqual } from "node:crypto";
import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { z } from "zod";
import type { ProblemDetails } from "./contract.ts";
import type { Answer, Operations } from "./operations.ts";

/** Largest request body. */
export const MAX_API_BODY_BYTES = 32 * 1024 * 1024;
/** Documents in one apply. */
export const MAX_APPLY_DOCUMENTS = 10_000;
/** Longest that a request may wait for gateways. */
export const MAX_WAIT_MS = 600_000;

const ref = z.strictObject({ kind: z.string().min(1), namespace: z.string().min(1), name: z.string().min(1) });
const waitMs = z.int().min(0).max(MAX_WAIT_MS).optional();
const REQUESTS = {
  apply: z.strictObject({
    documents: z
      .array(z.strictObject({ file: z.string().max(4096), text: z.string() }))
      .min(1)
      .max(MAX_APPLY_DOCUMENTS),
    dryRun: z.boolean().optional(),
    waitMs,
  }),
  delete: z.strictObject({ refs: z.array(ref).min(1).max(MAX_APPLY_DOCUMENTS), waitMs }),
  wait: z.strictObject({ timeoutMs: z.int().min(0).max(MAX_WAIT_MS) }),
  rollback: z.strictObject({
    to: z.string().regex(/^\d+\.\d+$/, { error: "a version is written epoch.version, such as 1.12" }),
    waitMs,
  }),
  joinToken: z.strictObject({
    pool: z.string().min(1).max(63),
    ttlMs: z
      .int()
      .min(1000)
      .max(30 * 86_400_000)
      .optional(),
    uses: z.int().min(1).max(10_000).optional(),
  }),
} as const;

export interface ApiOptions {
  readonly operations: Operations;
  /** Bearer token that every call but the health checks needs. */
  readonly token: string;
  readonly version: string;
}

export function createApi({ operations, token, version }: ApiOptions): Hono {
  const app = new Hono();
  app.get("/healthz", (c) => c.json({ ok: true }));
  app.get("/readyz", (c) => {
    const reason = operations.notReady();
    return reason === undefined ? c.json({ ready: true }) : c.json({ ready: false, reason }, 503);
  });
  app.use("/api/*", async (c, next) => {
    if (!sameSecret(c.req.header("authorization"), `Bearer ${token}`)) {
      c.header("www-authenticate", "Bearer");
      return problem(c, 401, "the API needs its bearer token: it is in the control plane's state directory, file api.token");
    }
    await next();
  });
  app.use(
    "/api/*",
    bodyLimit({
      maxSize: MAX_API_BODY_BYTES,
      onError: (c) => problem(c, 413, `the request body is larger than ${MAX_API_BODY_BYTES} bytes; apply in several calls`),
    }),
  );
  app.get("/api/v1/version", (c) => c.json({ version }));
  app.get("/api/v1/schemas", (c) => c.json(operations.schemas()));
  app.get("/api/v1/openapi.json", (c) => c.json(openApi(version, operations.schemas())));
  app.get("/api/v1/objects", (c) => {
    const { kind, namespace, name } = c.req.query();
    return c.json(operations.objects({ kind, namespace, name }));
  });
  app.get("/api/v1/endpoints", (c) => {
    const { pool, gateway, service } = c.req.query();
    return c.json(operations.endpoints({ pool, gateway, service }));
  });
  app.get("/api/v1/status", (c) => c.json(operations.status()));
  app.post("/api/v1/apply", async (c) => {
    const body = await read(c, REQUESTS.apply);
    return body instanceof Response ? body : c.json(await operations.apply(defined(body), whoOf(c)));
  });
  app.post("/api/v1/delete", async (c) => {
    const body = await read(c, REQUESTS.delete);
    return body instanceof Response ? body : c.json(await operations.delete(defined(body), whoOf(c)));
  });
  app.post("/api/v1/wait", async (c) => {
    const body = await read(c, REQUESTS.wait);
    return body instanceof Response ? body : c.json(await operations.wait(body.timeoutMs));
  });
  app.get("/api/v1/snapshots", async (c) => c.json(await operations.snapshots(c.req.query("pool"))));
  app.get("/api/v1/snapshots/:pool/:version", async (c) =>
    answer(c, await operations.snapshotFile(c.req.param("pool"), c.req.param("version"))),
  );
  app.post("/api/v1/snapshots/:pool/rollback", async (c) => {
    const body = await read(c, REQUESTS.rollback);
    return body instanceof Response ? body : answer(c, await operations.rollback(c.req.param("pool"), defined(body)));
  });
  app.get("/api/v1/trust", (c) => c.json(operations.trust()));
  app.post("/api/v1/join-tokens", async (c) => {
    const body = await read(c, REQUESTS.joinToken);
    return body instanceof Response ? body : answer(c, await operations.joinToken(defined(body)));
  });
  app.post("/api/v1/gateways/:gateway/revoke", (c) => answer(c, operations.revoke(c.req.param("gateway"))));
  app.notFound((c) => problem(c, 404, `nothing at ${c.req.method} ${c.req.path}; see /api/v1/openapi.json`));
  app.onError((error, c) => problem(c, 500, `the control plane failed on this request: ${error.message}`));
  return app;
}

/** The body if it has the schema's form; otherwise the answer that names every problem in it. */
async function read<T>(c: Context, schema: z.ZodType<T>): Promise<T | Response> {
  let json: unknown;
  try {
    json = await c.req.json();
  } catch {
    return problem(c, 400, "the request body is not JSON");
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  return problem(c, 400, parsed.error.issues.map((issue) => `${issue.path.join(".") || "body"}: ${issue.message}`).join("; "));
}

function answer<T>(c: Context, outcome: Answer<T>): Response {
  return outcome.ok ? c.json(outcome.value as object) : problem(c, outcome.status, outcome.detail);
}

function problem(c: Context, status: ContentfulStatusCode, detail: string): Response {
  const body: ProblemDetails = { type: "about:blank", title: TITLES[status] ?? "Error", status, detail };
  return c.body(JSON.stringify(body), status, { "content-type": "application/problem+json" });
}

const TITLES: Record<number, string> = {
  400: "Bad Request",
  401: "Unauthorized",
  404: "Not Found",
  409: "Conflict",
  413: "Content Too Large",
  500: "Internal Server Error",
};

/** Compared as hashes, so neither the length nor the place of a difference shows in the time it takes. */
function sameSecret(given: string | undefined, expected: string): boolean {
  const hash = (text: string) => createHash("sha256").update(text).digest();
  return given !== undefined && timingSafeEqual(hash(given), hash(expected));
}

/** For the history: a name that the caller gives itself. */
function whoOf(c: Context): string {
  return (c.req.header("x-tidegate-user") ?? "api").slice(0, 128);
}

/** Without properties whose value is undefined: optional fields are absent or set. */
function defined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}

function openApi(version: string, kinds: Readonly<Record<string, unknown>>): unknown {
  const body = (name: keyof typeof REQUESTS) => ({
    requestBody: { required: true, content: { "application/json": { schema: z.toJSONSchema(REQUESTS[name], { io: "input" }) } } },
  });
  const parameter = (name: string, place: "query" | "path") => ({
    name,
    in: place,
    required: place === "path",
    schema: { type: "string" },
  });
  const operation = (summary: string, rest: object = {}) => ({
    summary,
    ...rest,
    responses: {
      200: { description: "done", content: { "application/json": {} } },
      default: { description: "why not", content: { "application/problem+json": {} } },
    },
  });
  return {
    openapi: "3.1.0",
    info: { title: "Tidegate operator API", version },
    security: [{ bearer: [] }],
    components: { securitySchemes: { bearer: { type: "http", scheme: "bearer" } }, schemas: kinds },
    paths: {
      "/api/v1/objects": {
        get: operation("Objects and their statuses", {
          parameters: ["kind", "namespace", "name"].map((name) => parameter(name, "query")),
        }),
      },
      "/api/v1/apply": { post: operation("Creates or updates the objects of YAML documents", body("apply")) },
      "/api/v1/delete": { post: operation("Deletes objects", body("delete")) },
      "/api/v1/endpoints": {
        get: operation("Endpoints of services, as each connected gateway finds them", {
          parameters: ["pool", "gateway", "service"].map((name) => parameter(name, "query")),
        }),
      },
      "/api/v1/status": { get: operation("Pools, gateways, edge sites and problems") },
      "/api/v1/wait": {
        post: operation("Answers when every connected gateway and edge site enforces the newest snapshot", body("wait")),
      },
      "/api/v1/snapshots": { get: operation("Published snapshots", { parameters: [parameter("pool", "query")] }) },
      "/api/v1/snapshots/{pool}/{version}": {
        get: operation("One snapshot with its chunks", { parameters: [parameter("pool", "path"), parameter("version", "path")] }),
      },
      "/api/v1/snapshots/{pool}/rollback": {
        post: operation("Publishes the content of an older snapshot again", {
          parameters: [parameter("pool", "path")],
          ...body("rollback"),
        }),
      },
      "/api/v1/trust": { get: operation("The pin of the first trust root, and the root in force") },
      "/api/v1/join-tokens": { post: operation("A token by which gateways enrol", body("joinToken")) },
      "/api/v1/gateways/{gateway}/revoke": {
        post: operation("Takes a gateway's credential away and ends its stream", { parameters: [parameter("gateway", "path")] }),
      },
      "/api/v1/openapi.json": { get: operation("This document") },
      "/api/v1/schemas": { get: operation("JSON Schema of every kind") },
      "/api/v1/version": { get: operation("Version of the control plane") },
    },
  };
}
