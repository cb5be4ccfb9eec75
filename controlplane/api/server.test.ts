import { describe, expect, test, vi } from "vitest";
import type { Operations } from "./operations.ts";
import { createApi, MAX_API_BODY_BYTES, MAX_APPLY_DOCUMENTS, MAX_WAIT_MS } from "./server.ts";

const TOKEN = "t0ken";
const CHANGED = { changes: [], problems: [], snapshots: [] };

function fake(change: Partial<Operations> = {}) {
  const operations = {
    objects: vi.fn(() => ({ items: [] })),
    apply: vi.fn(async () => CHANGED),
    delete: vi.fn(async () => CHANGED),
    status: vi.fn(() => ({ pools: [], objects: { accepted: 0, refused: 0, withProblems: 0 }, problems: [] })),
    endpoints: vi.fn(() => ({ items: [] })),
    wait: vi.fn(async () => ({ complete: true, tookMs: 0, gateways: [] })),
    snapshots: vi.fn(async () => ({ items: [] })),
    snapshotFile: vi.fn(async () => ({ ok: true as const, value: { format: 1 } })),
    rollback: vi.fn(async () => ({ ok: false as const, status: 409 as const, detail: "there is no such version" })),
    trust: vi.fn(() => ({ issuer: "cluster.local", pin: "p1n", version: 2, expiresMs: 1 })),
    joinToken: vi.fn(async () => ({ ok: true as const, value: { token: "tg1.x", pool: "ingress", expiresMs: 1, uses: 1 } })),
    revoke: vi.fn((gateway: string) => ({ ok: true as const, value: { gateway } })),
    schemas: () => ({ Gateway: { type: "object" } }),
    notReady: () => undefined,
    ...change,
  };
  const app = createApi({ operations, token: TOKEN, version: "1.2.3" });
  const ask = async (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
    await app.request(path, {
      method,
      headers: { authorization: `Bearer ${TOKEN}`, "content-type": "application/json", ...headers },
      ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
  return { app, operations, ask };
}

async function detail(response: Response): Promise<string> {
  expect(response.headers.get("content-type")).toBe("application/problem+json");
  const problem = (await response.json()) as { status: number; title: string; detail: string };
  expect(problem.status).toBe(response.status);
  expect(problem.title).not.toBe("Error");
  return problem.detail;
}

const document = { file: "a.yaml", text: "kind: Gateway" };

describe("who may ask", () => {
  test.each(["", "Bearer", "Bearer wrong", `bearer ${TOKEN}`, `Bearer ${TOKEN} `.repeat(2)])(
    "401 with %j",
    async (authorization) => {
      const { ask, operations } = fake();
      const response = await ask("GET", "/api/v1/status", undefined, { authorization });
      expect(response.status).toBe(401);
      expect(response.headers.get("www-authenticate")).toBe("Bearer");
      expect(await detail(response)).toContain("file api.token");
      expect(operations.status).not.toHaveBeenCalled();
    },
  );

  test("health checks need no token", async () => {
    const { app } = fake();
    expect((await app.request("/healthz")).status).toBe(200);
    expect((await app.request("/readyz")).status).toBe(200);
    const { app: early } = fake({ notReady: () => "the first snapshots are not published yet" });
    const response = await early.request("/readyz");
    expect(response.status).toBe(503);
    expect(await response.json()).toEqual({ ready: false, reason: "the first snapshots are not published yet" });
  });
});

describe("what is asked", () => {
  test("apply and delete travel with who asks", async () => {
    const { ask, operations } = fake();
    const who = { "x-tidegate-user": "ann" };
    expect((await ask("POST", "/api/v1/apply", { documents: [document], waitMs: 5 }, who)).status).toBe(200);
    expect(operations.apply).toHaveBeenCalledWith({ documents: [document], waitMs: 5 }, "ann");
    const refs = [{ kind: "Gateway", namespace: "a", name: "b" }];
    await ask("POST", "/api/v1/delete", { refs });
    expect(operations.delete).toHaveBeenCalledWith({ refs }, "api");
  });

  test("filters come from the query, names from the path", async () => {
    const { ask, operations } = fake();
    await ask("GET", "/api/v1/objects?kind=Quota&name=x");
    expect(operations.objects).toHaveBeenCalledWith({ kind: "Quota", namespace: undefined, name: "x" });
    await ask("GET", "/api/v1/snapshots/ingress/1.2");
    expect(operations.snapshotFile).toHaveBeenCalledWith("ingress", "1.2");
    await ask("POST", "/api/v1/gateways/gw-1/revoke", {});
    expect(operations.revoke).toHaveBeenCalledWith("gw-1");
  });

  test("the trust root's pin, for whoever is to believe the snapshots", async () => {
    const response = await fake().ask("GET", "/api/v1/trust");
    expect(await response.json()).toEqual({ issuer: "cluster.local", pin: "p1n", version: 2, expiresMs: 1 });
  });

  test("an expected refusal has its own status and reason", async () => {
    const { ask } = fake();
    const response = await ask("POST", "/api/v1/snapshots/ingress/rollback", { to: "1.2" });
    expect([response.status, await detail(response)]).toEqual([409, "there is no such version"]);
  });

  test("a fault of the control plane is one answer, not a crash", async () => {
    const { ask } = fake({
      status: () => {
        throw new Error("disk gone");
      },
    });
    const response = await ask("GET", "/api/v1/status");
    expect(response.status).toBe(500);
    expect(await detail(response)).toContain("disk gone");
  });
});

describe("what is not well formed", () => {
  test("every problem of a body at once", async () => {
    const { ask, operations } = fake();
    const response = await ask("POST", "/api/v1/apply", { documents: [{ file: 1 }], waitMs: -1, colour: "red" });
    expect(response.status).toBe(400);
    const told = await detail(response);
    for (const part of ["documents.0.file", "documents.0.text", "waitMs", "colour"]) expect(told).toContain(part);
    expect(operations.apply).not.toHaveBeenCalled();
  });

  test.each(["", "{", "kind: Gateway"])("a body that is no JSON: %j", async (body) => {
    const response = await fake().ask("POST", "/api/v1/apply", body);
    expect([response.status, await detail(response)]).toEqual([400, "the request body is not JSON"]);
  });

  test("a version is written epoch.version", async () => {
    const response = await fake().ask("POST", "/api/v1/snapshots/ingress/rollback", { to: "3" });
    expect(response.status).toBe(400);
    expect(await detail(response)).toContain("to: a version is written epoch.version, such as 1.12");
  });

  test.each(["/api/v1/nothing", "/", "/api/v2/status"])("404 at %s points to the document of all", async (path) => {
    const response = await fake().ask("GET", path);
    expect(response.status).toBe(404);
    expect(await detail(response)).toContain(`nothing at GET ${path}; see /api/v1/openapi.json`);
  });
});

describe("limits", () => {
  test("MAX_API_BODY_BYTES: 413, whether the size is told or found out", async () => {
    const { ask, operations } = fake();
    const text = "x".repeat(MAX_API_BODY_BYTES);
    const response = await ask("POST", "/api/v1/apply", { documents: [{ file: "a", text }] });
    expect(response.status).toBe(413);
    expect(await detail(response)).toContain(`larger than ${MAX_API_BODY_BYTES} bytes`);
    expect(operations.apply).not.toHaveBeenCalled();
  });

  test("MAX_APPLY_DOCUMENTS are taken, one more is not", async () => {
    const { ask } = fake();
    const documents = Array.from({ length: MAX_APPLY_DOCUMENTS + 1 }, () => ({ file: "", text: "" }));
    expect((await ask("POST", "/api/v1/apply", { documents: documents.slice(1) })).status).toBe(200);
    const response = await ask("POST", "/api/v1/apply", { documents });
    expect(response.status).toBe(400);
    expect(await detail(response)).toContain(String(MAX_APPLY_DOCUMENTS));
  });

  test("MAX_WAIT_MS may be waited, no longer", async () => {
    const { ask, operations } = fake();
    expect((await ask("POST", "/api/v1/wait", { timeoutMs: MAX_WAIT_MS })).status).toBe(200);
    expect(operations.wait).toHaveBeenCalledWith(MAX_WAIT_MS);
    expect((await ask("POST", "/api/v1/wait", { timeoutMs: MAX_WAIT_MS + 1 })).status).toBe(400);
    expect((await ask("POST", "/api/v1/apply", { documents: [document], waitMs: MAX_WAIT_MS + 1 })).status).toBe(400);
  });
});

test("the OpenAPI document lists every route of the API and the kinds' schemas", async () => {
  const { app, ask } = fake();
  const document = (await (await ask("GET", "/api/v1/openapi.json")).json()) as {
    paths: Record<string, Record<string, unknown>>;
    components: { schemas: object };
  };
  const listed = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  const served = app.routes
    .filter(({ method, path }) => method !== "ALL" && path.startsWith("/api/"))
    .map(({ method, path }) => `${method} ${path.replace(/:(\w+)/g, "{$1}")}`);
  expect(listed.sort()).toEqual([...new Set(served)].sort());
  expect(document.components.schemas).toEqual({ Gateway: { type: "object" } });
});
