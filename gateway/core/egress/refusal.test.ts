import { describe, expect, it } from "vitest";
import type { ErrorCode } from "../error.ts";
import { refusalStep } from "./refusal.ts";

const SETTINGS = { realm: "outside", version: "1.7", close: false };

function fieldsOf(list: readonly string[]): Record<string, string | undefined> {
  return Object.fromEntries(list.flatMap((name, i) => (i % 2 === 0 ? [[name, list[i + 1]]] : [])));
}

describe("refusalStep", () => {
  it.each([
    ["denied", 403],
    ["proxy_auth_required", 407],
    ["overload", 503],
    ["not_supported", 501],
    ["bad_request", 400],
  ] as const)("%s is %i, with rule, reason and snapshot in fields and body", (error: ErrorCode, status) => {
    const step = refusalStep({ error, code: "word", rule: "ns/policy#rule", reason: "why not" }, [], SETTINGS);
    expect(step.head.status).toBe(status);
    const fields = fieldsOf(step.head.fields);
    expect(fields).toMatchObject({
      "x-tidegate-rule": "ns/policy#rule",
      "x-tidegate-reason": "why not",
      "x-tidegate-snapshot": "1.7",
    });
    expect(new TextDecoder().decode(step.body as Uint8Array)).toMatch(/why not \(rule ns\/policy#rule\)\n$/);
    expect(fields["proxy-authenticate"]).toBe(status === 407 ? 'Basic realm="outside", charset="UTF-8"' : undefined);
  });

  it("lets nothing into a field that may not stand there", () => {
    const step = refusalStep({ error: "proxy_auth_required", code: "x", rule: "a\r\nb", reason: "naïve\0" }, [], {
      ...SETTINGS,
      realm: 'a"b\\c\r\nset-cookie: x',
    });
    for (const text of step.head.fields) expect(text).toMatch(/^[\x20-\x7e]*$/);
    expect(fieldsOf(step.head.fields)["proxy-authenticate"]).toBe('Basic realm="a\\"b\\\\c??set-cookie: x", charset="UTF-8"');
  });

  it("hands on a body that was configured, but not to gRPC clients, who read none", () => {
    const refusal = {
      error: "quota_exceeded",
      status: 429,
      code: "quota_exceeded",
      reason: "used up",
      fields: ["retry-after", "3", "content-type", "text/x"],
      body: "later",
    } as const;
    const step = refusalStep(refusal, [], SETTINGS);
    expect(new TextDecoder().decode(step.body as Uint8Array)).toBe("later");
    expect(step.head.fields.filter((name) => name === "content-type").length).toBe(1);
    const grpc = refusalStep(refusal, ["content-type", "application/grpc"], SETTINGS);
    expect(grpc.head).toMatchObject({ status: 200, body: { kind: "none" } });
    expect(fieldsOf(grpc.head.fields)["grpc-status"]).toBe("8");
  });
});
