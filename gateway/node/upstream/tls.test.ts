import { describe, expect, it } from "vitest";
import type { ClientTls } from "../../core/ir/index.ts";
import { checkAltNames, originationOptions } from "./tls.ts";

const TLS: ClientTls = { mode: "simple", subjectAltNames: [], minVersion: "TLSv1.2", insecureSkipVerify: false };

describe("originationOptions", () => {
  it("names the host, the configured name before it, and no IP address", () => {
    expect(originationOptions(TLS, "origin.test").servername).toBe("origin.test");
    expect(originationOptions({ ...TLS, serverName: "other.test" }, "10.0.0.1").servername).toBe("other.test");
    expect(originationOptions(TLS, "10.0.0.1").servername).toBeUndefined();
  });

  it("verifies unless it is told not to", () => {
    expect(originationOptions(TLS, "origin.test").rejectUnauthorized).toBe(true);
    expect(originationOptions({ ...TLS, insecureSkipVerify: true }, "origin.test").rejectUnauthorized).toBe(false);
  });

  it("throws when the authority's file cannot be read", () => {
    expect(() => originationOptions({ ...TLS, caFile: "/nonexistent/ca.pem" }, "origin.test")).toThrow(/ENOENT/);
  });
});

describe("checkAltNames", () => {
  it("wants one of the names, whole", () => {
    const certificate = { subjectaltname: "DNS:a.test, URI:spiffe://mesh/ns/x/sa/y, IP Address:10.0.0.1" };
    expect(checkAltNames(["spiffe://mesh/ns/x/sa/y"], certificate)).toBeUndefined();
    expect(checkAltNames(["b.test", "a.test"], certificate)).toBeUndefined();
    expect(checkAltNames(["test"], certificate)).toBeInstanceOf(Error);
    expect(checkAltNames(["a.test"], {})).toBeInstanceOf(Error);
  });
});
