import { describe, expect, it } from "vitest";
import type { ClientTls } from "../../core/ir/index.ts";
import { PemFiles } from "../pem-files.ts";
import { checkAltNames, isTlsError, OriginContexts, tlsReason } from "./tls.ts";

const TLS: ClientTls = { mode: "simple", subjectAltNames: [], minVersion: "TLSv1.2", insecureSkipVerify: false };
const contexts = () =>
  new OriginContexts(
    new PemFiles("/nonexistent"),
    () => 0,
    () => undefined,
  );

function options(tls: ClientTls, address: string) {
  const read = contexts().towards(tls, address, "http/1.1").options();
  if (!read.ok) throw new Error(read.error);
  return read.value;
}

describe("TLS towards an address", () => {
  it("names the host, the configured name before it, and no IP address", () => {
    expect(options(TLS, "origin.test").servername).toBe("origin.test");
    expect(options({ ...TLS, serverName: "other.test" }, "10.0.0.1").servername).toBe("other.test");
    expect(options(TLS, "10.0.0.1").servername).toBeUndefined();
  });

  it("verifies unless it is told not to", () => {
    expect(options(TLS, "origin.test").rejectUnauthorized).toBe(true);
    expect(options({ ...TLS, insecureSkipVerify: true }, "origin.test").rejectUnauthorized).toBe(false);
  });

  it("shares what depends on files alone, and keeps sessions apart", () => {
    const shared = contexts();
    const [one, other] = [
      shared.towards(TLS, "a.test", "http/1.1"),
      shared.towards({ ...TLS, serverName: "b.test" }, "a.test", "http/1.1"),
    ];
    const [first, second] = [one.options(), other.options()];
    if (!first.ok || !second.ok) throw new Error("no options");
    expect(second.value.secureContext).toBe(first.value.secureContext);
    expect(one.options()).toEqual(first);
    one.session = Buffer.from("x");
    expect(other.session).toBeUndefined();
  });

  it("says which file cannot be used, for the cluster and for each request", () => {
    const tls: ClientTls = { ...TLS, caFile: "secret:shop/origin/ca.crt" };
    const shared = contexts();
    const reason = "authorities /nonexistent/shop/origin/ca.crt cannot be read: it does not exist";
    shared.install([{ name: "c", tls }, { name: "plain" }, { name: "d", tls: TLS }]);
    expect(shared.problems).toEqual([{ name: "c", reason }]);
    expect(shared.towards(tls, "a.test", "http/1.1").options()).toEqual({ ok: false, error: `TLS settings: ${reason}` });
    shared.close();
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

  it("finds no second name inside of one", () => {
    const certificate = { subjectaltname: 'URI:"spiffe://mesh/x, DNS:bank.test"' };
    expect(checkAltNames(["bank.test"], certificate)).toBeInstanceOf(Error);
    expect(checkAltNames(["bank.test"], { subjectaltname: "URI:spiffe://mesh/x,DNS:bank.test" })).toBeInstanceOf(Error);
  });
});

it("tells TLS errors from others, in words", () => {
  const error = Object.assign(new Error("40835FF4087F:error:0A00045C:SSL routines:…"), {
    code: "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED",
    reason: "tlsv13 alert certificate required",
  });
  expect([isTlsError(error), tlsReason(error)]).toEqual([true, "tlsv13 alert certificate required"]);
  const reset = Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" });
  expect([isTlsError(reset), tlsReason(reset), tlsReason(undefined)]).toEqual([false, "read ECONNRESET", undefined]);
});
