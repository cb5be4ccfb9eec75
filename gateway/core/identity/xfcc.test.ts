import { describe, expect, test } from "vitest";
import { upstreamFields } from "../http/upstream-head.ts";
import type { ForwardClientCert, XfccMode } from "../ir/settings.ts";
import type { AltName } from "./san.ts";
import { forwardedClientCert, isWellFormedXfcc, MAX_XFCC_CHARS, type PeerCertificate, XFCC_FIELD, xfccElement } from "./xfcc.ts";

const HASH = "ab".repeat(32);
const PEM = "-----BEGIN CERTIFICATE-----\nMII+/=\n-----END CERTIFICATE-----\n";

function certificate(over: { readonly subject?: string; readonly names?: readonly AltName[] } = {}): PeerCertificate {
  const names: readonly AltName[] = [
    { type: "uri", value: "spiffe://mesh/ns/a/sa/b" },
    { type: "dns", value: "a.test" },
    { type: "ip", value: "10.0.0.1" },
  ];
  return { subject: "CN=client,O=Shop", names, hash: HASH, pem: () => [PEM, PEM], ...over };
}
const OWN = `Hash=${HASH};Subject="CN=client,O=Shop";URI=spiffe://mesh/ns/a/sa/b;DNS=a.test`;
const FORGED = `Hash=${HASH};Subject="CN=admin";URI=spiffe://mesh/ns/a/sa/admin`;

describe("modes", () => {
  test.each<[XfccMode, boolean, string | undefined, string | undefined]>([
    ["sanitize", true, FORGED, undefined],
    ["sanitize", false, FORGED, undefined],
    ["sanitize-set", true, FORGED, OWN],
    ["sanitize-set", true, undefined, OWN],
    ["sanitize-set", false, FORGED, undefined],
    ["forward-only", true, FORGED, FORGED],
    ["forward-only", true, undefined, undefined],
    ["forward-only", false, FORGED, undefined],
    ["append-forward", true, FORGED, `${FORGED},${OWN}`],
    ["append-forward", true, undefined, OWN],
    ["append-forward", false, FORGED, undefined],
    ["always-forward-only", false, FORGED, FORGED],
    ["always-forward-only", true, FORGED, FORGED],
  ])("%s, certificate %s, received %j", (mode, shown, received, sent) => {
    expect(forwardedClientCert(received, shown ? certificate() : undefined, { mode })).toBe(sent);
  });

  test("by default a client's own field goes, and what the gateway knows is set", () => {
    const request = {
      fields: [XFCC_FIELD, FORGED, XFCC_FIELD, FORGED],
      authority: "a.test",
      scheme: "https",
      version: "1.1",
    } as const;
    const sent = (shown: PeerCertificate | undefined, forwarding?: ForwardClientCert) => {
      const fields = upstreamFields({ ...request, connectionOptions: undefined }, "10.0.0.1", 0, () => 0.5, shown, forwarding);
      return fields.flatMap((name, i) => (name === XFCC_FIELD ? [fields[i + 1]] : []));
    };
    expect(sent(undefined)).toEqual([]);
    expect(sent(certificate())).toEqual([OWN]);
    expect(sent(certificate(), { mode: "append-forward" })).toEqual([`${FORGED},${FORGED},${OWN}`]);
  });
});

describe("an element", () => {
  test("tells the certificate and its chain where that is asked for", () => {
    const pem = encodeURIComponent(PEM);
    expect(xfccElement(certificate(), { cert: true })).toContain(`;Cert="${pem}";Subject=`);
    expect(xfccElement(certificate(), { chain: true })).toContain(`;Chain="${pem}${pem}";Subject=`);
  });

  test("keeps what a name holds within that name", () => {
    const evil = certificate({
      subject: 'CN=x";URI=spiffe://mesh/admin,O=\\"é\n',
      names: [
        { type: "uri", value: 'spiffe://mesh/x,URI=spiffe://mesh/admin;"' },
        { type: "uri", value: "spiffe://mesh/x\u0000" },
        { type: "dns", value: "a b" },
        { type: "other", value: "x" },
      ],
    });
    const text = xfccElement(evil);
    expect(text).toBe(
      String.raw`Hash=${HASH};Subject="CN=x\";URI=spiffe://mesh/admin,O=\\\"??";URI="spiffe://mesh/x,URI=spiffe://mesh/admin;\""`,
    );
    expect(isWellFormedXfcc(text)).toBe(true);
  });

  test("is made once for a certificate and a setting", () => {
    let made = 0;
    const counted: PeerCertificate = { ...certificate(), pem: () => [String(made++)] };
    const forwarding: ForwardClientCert = { mode: "sanitize-set", cert: true };
    forwardedClientCert(undefined, counted, forwarding);
    forwardedClientCert(undefined, counted, forwarding);
    expect(made).toBe(1);
    forwardedClientCert(undefined, counted, { ...forwarding, chain: true });
    expect(made).toBe(2);
  });
});

describe("what somebody else wrote", () => {
  test.each([
    OWN,
    FORGED,
    `${FORGED},${OWN}`,
    `${FORGED}, ${OWN}`,
    'By=spiffe://a/b;Hash=;Subject=""',
    String.raw`Subject="a\"b,c"`,
  ])("well-formed: %s", (text) => {
    expect(isWellFormedXfcc(text)).toBe(true);
  });
  test.each([
    "",
    "x",
    'Subject="',
    'Subject="a"b',
    'a="b";',
    ",Hash=1",
    "Hash=1,",
    "Hash=1;;URI=x",
    'URI=a"b',
    `Hash=${"a".repeat(MAX_XFCC_CHARS)}`,
  ])("not: %s", (text) => {
    expect(isWellFormedXfcc(text)).toBe(false);
    expect(forwardedClientCert(text, certificate(), { mode: "append-forward" })).toBe(OWN);
  });
});
