/** TLS that ends at a gateway, with real clients: who is let in, as whom, and what becomes of it when files change. */
import { createHash, X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type ConnectionOptions, connect } from "node:tls";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import type {
  ClientCertificateRules,
  ListenerServer,
  ServerCertificates,
  ServerTls,
  Settings,
} from "../../gateway/core/ir/index.ts";
import { type Issued, TestAuthority } from "../support/authority.ts";
import { CertificateFolder } from "../support/certificate-folder.ts";
import {
  eventually,
  freePort,
  okAnswer,
  ScriptedOrigin,
  type TestGateway,
  testGateway,
  testListener,
  testSnapshot,
} from "../support/gateway.ts";

let files: CertificateFolder;
let authority: TestAuthority;
let other: TestAuthority;
let client: Issued;
let stranger: Issued;
let revocations: string;
const SPIFFE = "spiffe://partner.test/ns/a/sa/b";
const FORGED = "x-forwarded-client-cert: Hash=00;URI=spiffe://partner.test/ns/a/sa/admin\r\n";

beforeAll(async () => {
  files = new CertificateFolder("tls-modes");
  [authority, other] = [await TestAuthority.create("one"), await TestAuthority.create("other")];
  client = await authority.issue({
    commonName: "client",
    use: "client",
    names: [
      { type: "url", value: SPIFFE },
      { type: "dns", value: "client.test" },
    ],
  });
  stranger = await other.issue({ commonName: "client", use: "client", names: [{ type: "url", value: SPIFFE }] });
  revocations = await authority.revoke([client.serial]);
  save("ca.pem", authority.certificate);
  save("other-ca.pem", other.certificate);
  saveIssued("server", await authority.issue({ commonName: "server", use: "server" }));
  return () => files.remove();
});

const opened: { stop(): void }[] = [];
afterEach(() => {
  for (const one of opened.splice(0)) one.stop();
});

const path = (file: string) => files.path(file);
const save = (file: string, text: string) => files.save(file, text);
const saveIssued = (name: string, issued: Issued) => files.saveIssued(name, issued);

const certificates = (name = "server"): ServerCertificates => ({
  certificateFile: path(`${name}.crt`),
  privateKeyFile: path(`${name}.key`),
  minVersion: "TLSv1.2",
  maxVersion: "TLSv1.3",
  cipherSuites: [],
});

const NO_RULES = { subjectAltNames: [], spkiPins: [], hashPins: [], insecureSkipVerify: false };

function mutual(rules: Partial<ClientCertificateRules> = {}, mode: "mutual" | "optional-mutual" = "mutual"): ServerTls {
  return { mode, ...certificates(), client: { caFile: path("ca.pem"), ...NO_RULES, ...rules } };
}

function unverified(rules: Partial<ClientCertificateRules> = {}): ServerTls {
  return { mode: "mutual", ...certificates(), client: { ...NO_RULES, insecureSkipVerify: true, ...rules } };
}

const simple = (over: Partial<ServerCertificates> = {}): ServerTls => ({
  mode: "simple",
  ...certificates(),
  ...over,
});

interface Served {
  readonly port: number;
  readonly gateway: TestGateway;
  readonly problems: readonly { readonly name: string; readonly reason: string }[];
  /** Heads of the requests that the origin has seen. */
  readonly seen: readonly string[];
}

/** Servers by the names that they answer to. */
async function serve(
  servers: Readonly<Record<string, ServerTls>>,
  over: { readonly threads?: number; readonly secrets?: string; readonly settings?: Partial<Settings> } = {},
): Promise<Served> {
  const seen: string[] = [];
  const origin = await new ScriptedOrigin((socket, bytes) => {
    seen.push(String(bytes));
    socket.write(okAnswer("served"));
  }).start();
  opened.push(origin);
  const gateway = testGateway(over.threads ?? 1, undefined, over.secrets);
  opened.push({ stop: () => void gateway.engine.drain(0) });
  const port = await freePort();
  const list = Object.entries(servers).map(
    ([name, tls]): ListenerServer => ({ name, serverNames: [name], routeTable: "main", tls }),
  );
  const listeners = [testListener(port, { protocol: "https", servers: list })];
  const snapshot = testSnapshot({ listeners, originPorts: [origin.port], ...(over.settings ? { settings: over.settings } : {}) });
  const outcome = await gateway.engine.installSnapshot(snapshot, "1.1", () => Promise.resolve());
  return { port, gateway, problems: outcome.problems, seen };
}

interface Answer {
  /** Of the response, or why there was none. */
  readonly status: string;
  readonly protocol: string | null;
  readonly cipher: string;
  readonly resumed: boolean;
  readonly session: Buffer | undefined;
  readonly subject: unknown;
}

/** One request over a connection of its own. */
function ask(port: number, servername: string, options: ConnectionOptions = {}, fields = ""): Promise<Answer> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1", servername, rejectUnauthorized: false, ...options });
    let session: Buffer | undefined;
    let text = "";
    let problem = "closed";
    socket.on("session", (fresh) => {
      session = fresh;
    });
    socket.on("secureConnect", () => socket.write(`GET / HTTP/1.1\r\nhost: ${servername}\r\n${fields}connection: close\r\n\r\n`));
    socket.on("data", (bytes) => {
      text += String(bytes);
    });
    socket.on("error", (error: Error & { code?: string }) => {
      problem = error.code ?? error.message;
    });
    const facts = { protocol: null as string | null, cipher: "", resumed: false, subject: undefined as unknown };
    socket.on("secureConnect", () => {
      facts.protocol = socket.getProtocol();
      facts.cipher = socket.getCipher().name;
      facts.resumed = socket.isSessionReused();
      facts.subject = socket.getPeerCertificate().subject;
    });
    socket.on("close", () => {
      const status = /^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? problem;
      resolve({ status, session, ...facts });
    });
  });
}

const as = ({ certificate, key }: Issued): ConnectionOptions => ({ cert: certificate, key });
const xfccOf = (head: string | undefined) => /^x-forwarded-client-cert: (.*)\r$/m.exec(head ?? "")?.[1];
const hashOf = (pem: string) => new X509Certificate(pem).fingerprint256.replaceAll(":", "").toLowerCase();

describe("MUTUAL", () => {
  it("lets in who has a certificate of the authority, tells the origin who it is, and nobody else", async () => {
    const log = path("access.log");
    const { port, seen } = await serve({ "m.test": mutual() }, { settings: { accessLog: { enabled: true, path: log } } });
    expect((await ask(port, "m.test", as(client), FORGED)).status).toBe("200");
    await eventually(() => existsSync(log) && readFileSync(log, "utf8").endsWith("\n"));
    expect(JSON.parse(readFileSync(log, "utf8"))).toMatchObject({ principal: SPIFFE, sni: "m.test", tls_version: "TLSv1.3" });
    expect(xfccOf(seen[0])).toBe(`Hash=${hashOf(client.certificate)};Subject="O=Shop,CN=client";URI=${SPIFFE};DNS=client.test`);
    for (const options of [
      {},
      as(stranger),
      as(await authority.issue({ use: "client", days: [-3, -1] })),
      as(await authority.issue({ use: "client", days: [1, 2] })),
      as(await authority.issue({ use: "server" })),
    ]) {
      for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const)
        expect((await ask(port, "m.test", { ...options, maxVersion })).status).not.toBe("200");
    }
    expect(seen).toHaveLength(1);
  });

  it("looks at names and pins, of which each list that is given has to hold", async () => {
    const hash = hashOf(client.certificate);
    const spki = createHash("sha256")
      .update(new X509Certificate(client.certificate).publicKey.export({ type: "spki", format: "der" }))
      .digest("base64");
    const wrong = { hash: "0".repeat(64), spki: `${"A".repeat(43)}=` };
    const { port } = await serve({
      "uri.test": mutual({ subjectAltNames: ["x.test", SPIFFE] }),
      "dns.test": mutual({ subjectAltNames: ["CLIENT.test"] }),
      "part.test": mutual({ subjectAltNames: ["spiffe://partner.test/ns/a/sa", "test", "client"] }),
      "hash.test": mutual({ hashPins: [wrong.hash, hash] }),
      "spki.test": mutual({ spkiPins: [wrong.spki, spki] }),
      "either.test": mutual({ hashPins: [wrong.hash], spkiPins: [spki] }),
      "neither.test": mutual({ hashPins: [wrong.hash], spkiPins: [wrong.spki] }),
      "both.test": mutual({ hashPins: [hash], subjectAltNames: ["other.test"] }),
      "pin-only.test": mutual({ caFile: path("other-ca.pem"), hashPins: [hash] }),
    });
    const answers: Record<string, string> = {};
    for (const name of ["uri", "dns", "part", "hash", "spki", "either", "neither", "both", "pin-only"])
      answers[name] = (await ask(port, `${name}.test`, as(client))).status === "200" ? "in" : "out";
    expect(answers).toEqual({
      uri: "in",
      dns: "in",
      part: "out",
      hash: "in",
      spki: "in",
      either: "in",
      neither: "out",
      both: "out",
      "pin-only": "out",
    });
  });

  it("insecureSkipVerify: a pin says who it is, and without one nobody is anybody", async () => {
    const { port, seen } = await serve({
      "pinned.test": unverified({ hashPins: [hashOf(stranger.certificate)] }),
      "any.test": unverified(),
    });
    expect((await ask(port, "pinned.test", as(stranger))).status).toBe("200");
    expect(xfccOf(seen[0])).toContain(`Hash=${hashOf(stranger.certificate)}`);
    expect((await ask(port, "pinned.test", as(client))).status).not.toBe("200");
    expect((await ask(port, "any.test", as(client), FORGED)).status).toBe("200");
    expect(xfccOf(seen[1])).toBeUndefined();
    expect((await ask(port, "any.test")).status).not.toBe("200");
  });
});

describe("OPTIONAL_MUTUAL", () => {
  it("lets in who comes without a certificate, as nobody, and who has one that passes", async () => {
    const { port, seen } = await serve({ "o.test": mutual({}, "optional-mutual") });
    expect((await ask(port, "o.test", {}, FORGED)).status).toBe("200");
    expect(xfccOf(seen[0])).toBeUndefined();
    expect((await ask(port, "o.test", as(client))).status).toBe("200");
    expect(xfccOf(seen[1])).toContain(`URI=${SPIFFE}`);
    for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
      const refused = await ask(port, "o.test", { maxVersion, ...as(stranger) });
      expect(refused.status).not.toBe("200");
      // A session that came along with the refusal is none.
      const again = await ask(port, "o.test", { maxVersion, ...sessionOf(refused) });
      expect(again.resumed ? again.status : "not resumed").not.toBe("200");
    }
  });
});

describe("servers of one port", () => {
  it("have versions, ciphers and requests for certificates of their own", async () => {
    const { port } = await serve({
      "old.test": simple({ maxVersion: "TLSv1.2" }),
      "new.test": simple({ minVersion: "TLSv1.3" }),
      "cipher.test": simple({ cipherSuites: ["ECDHE-ECDSA-AES256-GCM-SHA384"] }),
      "m.test": mutual(),
    });
    expect(await ask(port, "old.test")).toMatchObject({ status: "200", protocol: "TLSv1.2" });
    expect(await ask(port, "new.test")).toMatchObject({ status: "200", protocol: "TLSv1.3" });
    expect((await ask(port, "new.test", { maxVersion: "TLSv1.2" })).status).toMatch(/ALERT_PROTOCOL_VERSION/);
    const ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384";
    expect(await ask(port, "cipher.test", { maxVersion: "TLSv1.2", ciphers })).toMatchObject({
      status: "200",
      cipher: "ECDHE-ECDSA-AES256-GCM-SHA384",
    });
    expect((await ask(port, "cipher.test", { maxVersion: "TLSv1.2", ciphers: "ECDHE-ECDSA-AES128-GCM-SHA256" })).status).not.toBe(
      "200",
    );
    expect(await ask(port, "cipher.test")).toMatchObject({ status: "200", protocol: "TLSv1.3" });
    // A client that is not asked shows nothing, whatever else is on the port.
    expect((await ask(port, "old.test", as(stranger))).status).toBe("200");
    expect((await ask(port, "nobody.test")).status).toMatch(/UNRECOGNIZED_NAME/);
  });

  it.each(["TLSv1.2", "TLSv1.3"] as const)("resume sessions of their own and of no other server: %s", async (maxVersion) => {
    const { port, seen } = await serve({
      "s.test": simple(),
      "m.test": mutual(),
      "n.test": mutual({ caFile: path("other-ca.pem") }),
      "o.test": mutual({}, "optional-mutual"),
    });
    const first = await ask(port, "s.test", { maxVersion });
    expect(first.session).toBeDefined();
    expect(await ask(port, "s.test", { maxVersion, ...sessionOf(first) })).toMatchObject({ status: "200", resumed: true });
    for (const name of ["m.test", "n.test"])
      expect((await ask(port, name, { maxVersion, ...sessionOf(first) })).status).not.toBe("200");
    expect(await ask(port, "o.test", { maxVersion, ...sessionOf(first) })).toMatchObject({ status: "200", resumed: false });

    const verified = await ask(port, "m.test", { maxVersion, ...as(client) });
    expect(await ask(port, "m.test", { maxVersion, ...sessionOf(verified) })).toMatchObject({ status: "200", resumed: true });
    expect(xfccOf(seen.at(-1))).toContain(`URI=${SPIFFE}`);
    // Another server's authority has not signed this client, and its session says nothing there.
    expect((await ask(port, "n.test", { maxVersion, ...as(client), ...sessionOf(verified) })).status).not.toBe("200");
    expect(await ask(port, "o.test", { maxVersion, ...sessionOf(verified) })).toMatchObject({ status: "200", resumed: false });
    expect(xfccOf(seen.at(-1))).toBeUndefined();
  });

  it("alone on a port: hold to their names all the same, and to their rules when a session is resumed", async () => {
    const { port, seen } = await serve({ "m.test": mutual() });
    for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
      const verified = await ask(port, "m.test", { maxVersion, ...as(client) });
      expect(await ask(port, "m.test", { maxVersion, ...sessionOf(verified) })).toMatchObject({ status: "200", resumed: true });
      expect(xfccOf(seen.at(-1))).toContain(`URI=${SPIFFE}`);
      expect((await ask(port, "other.test", { maxVersion, ...as(client) })).status).not.toBe("200");
      expect((await ask(port, "", { maxVersion, ...as(client) })).status).not.toBe("200");
    }
    expect(seen).toHaveLength(4);
  });

  it("resume at any thread", async () => {
    const { port } = await serve({ "s.test": simple() }, { threads: 2 });
    const { session } = await ask(port, "s.test", { maxVersion: "TLSv1.2" });
    const again = await Promise.all(
      Array.from({ length: 16 }, () => ask(port, "s.test", { maxVersion: "TLSv1.2", ...(session ? { session } : {}) })),
    );
    expect(again.map(({ status, resumed }) => `${status} ${resumed}`)).toEqual(Array.from({ length: 16 }, () => "200 true"));
  });

  it("show the certificate that a client can check, of several", async () => {
    saveIssued("rsa", await authority.issue({ commonName: "rsa", use: "server", key: "rsa" }));
    const { certificateFile, privateKeyFile } = certificates("rsa");
    const { port } = await serve({
      "both.test": { mode: "simple", ...certificates(), otherCertificates: [{ certificateFile, privateKeyFile }] },
    });
    expect((await ask(port, "both.test", { sigalgs: "ecdsa_secp256r1_sha256" })).subject).toMatchObject({ CN: "server" });
    expect((await ask(port, "both.test", { sigalgs: "rsa_pss_rsae_sha256" })).subject).toMatchObject({ CN: "rsa" });
  });
});

function sessionOf({ session }: Answer): ConnectionOptions {
  return session === undefined ? {} : { session };
}

describe("files", () => {
  it("of the secrets folder, whenever they come", async () => {
    const secrets = path("secrets");
    const secret = (key: string) => `secret:shop/web/${key}`;
    const { port, problems } = await serve(
      {
        "s.test": {
          mode: "mutual",
          ...certificates(),
          certificateFile: secret("tls.crt"),
          privateKeyFile: secret("tls.key"),
          client: { ...NO_RULES, caFile: secret("ca.crt"), crlFile: secret("ca.crl") },
        },
        "out.test": { ...certificates(), mode: "simple", certificateFile: "secret:shop/../x" },
      },
      { secrets },
    );
    expect(problems).toEqual([
      { name: "s.test", reason: `certificate ${secrets}/shop/web/tls.crt cannot be read: it does not exist` },
      { name: "out.test", reason: "certificate secret:shop/../x is no secret's key; a secret is <namespace>/<name>/<key>" },
    ]);
    mkdirSync(join(secrets, "shop", "web"), { recursive: true });
    const issued = await authority.issue({ use: "server" });
    save("secrets/shop/web/ca.crt", authority.certificate);
    save("secrets/shop/web/tls.key", issued.key);
    save("secrets/shop/web/tls.crt", issued.certificate);
    await untilStatus("200", () => ask(port, "s.test", as(client)));
    save("secrets/shop/web/ca.crl", revocations);
    await untilStatus("closed", () => ask(port, "s.test", as(client)));
  });

  it("of revocations count at once, for resumed sessions too, and connections live on", async () => {
    save("crl.pem", await authority.revoke(["7f"]));
    const { port } = await serve({ "m.test": mutual({ crlFile: path("crl.pem") }), "s.test": simple() });
    const before = await ask(port, "m.test", as(client));
    expect(before.status).toBe("200");
    const living = connect({ port, host: "127.0.0.1", servername: "m.test", rejectUnauthorized: false, ...as(client) });
    opened.push({ stop: () => living.destroy() });
    let text = "";
    living.on("data", (bytes) => {
      text += String(bytes);
    });
    living.write("GET / HTTP/1.1\r\nhost: m.test\r\n\r\n");
    await eventually(() => text.endsWith("served"));
    save("crl.pem", revocations);
    await untilStatus("closed", () => ask(port, "m.test", as(client)));
    expect((await ask(port, "m.test", { ...as(client), ...sessionOf(before) })).status).not.toBe("200");
    text = "";
    living.write("GET / HTTP/1.1\r\nhost: m.test\r\n\r\n");
    await eventually(() => text.endsWith("served"));
  });

  it("that cannot be used are named with the reason, and the other servers work", async () => {
    const [mine, weak] = [await authority.issue(), await authority.issue({ days: [-3, -1] })];
    saveIssued("mismatch", { ...mine, key: client.key });
    saveIssued("expired", weak);
    saveIssued("early", await authority.issue({ days: [1, 2] }));
    save("text.crt", "very secret text");
    save("text.key", "very secret text");
    save("empty.pem", "# nobody\n");
    save("half.pem", `${authority.certificate}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`);
    save("crl-no.pem", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n");
    const server = (name: string): ServerTls => ({ mode: "simple", ...certificates(name) });
    const { port, problems, gateway } = await serve({
      "good.test": simple(),
      "gone.test": server("gone"),
      "text.test": server("text"),
      "mismatch.test": server("mismatch"),
      "expired.test": server("expired"),
      "early.test": server("early"),
      "cipher.test": simple({ cipherSuites: ["NOT-A-CIPHER"] }),
      "empty.test": mutual({ caFile: path("empty.pem") }),
      "half.test": mutual({ caFile: path("half.pem") }),
      "crl.test": mutual({ crlFile: path("crl-no.pem") }),
      "no-crl.test": mutual({ crlFile: path("no-crl.pem") }),
    });
    const told = Object.fromEntries(problems.map(({ name, reason }) => [name, reason.replaceAll(`${files.directory}/`, "")]));
    expect(told).toEqual({
      "gone.test": "certificate gone.crt cannot be read: it does not exist",
      "text.test": "certificate text.crt is not a PEM certificate",
      "mismatch.test":
        "private key mismatch.key does not belong to the first certificate in mismatch.crt; the leaf must come first",
      "expired.test": expect.stringMatching(/^certificate expired.crt has expired on \d{4}-/),
      "early.test": expect.stringMatching(/^certificate early.crt is not valid before \d{4}-/),
      "cipher.test": "cipher suites NOT-A-CIPHER: this gateway's OpenSSL knows none of them",
      "empty.test": "authorities empty.pem holds no PEM certificate",
      "half.test": "authorities half.pem: certificate 2 of 2 cannot be read",
      "crl.test": "revocation lists crl-no.pem: revocation list 1 of 1 cannot be read",
      "no-crl.test": "revocation lists no-crl.pem cannot be read: it does not exist",
    });
    expect((await ask(port, "good.test")).status).toBe("200");
    // Clients decide about certificates out of their time.
    expect((await ask(port, "expired.test")).status).toBe("200");
    for (const name of ["mismatch", "empty", "half", "crl", "no-crl"])
      expect((await ask(port, `${name}.test`, as(client))).status).not.toBe("200");
    expect(JSON.stringify([problems, gateway.logged])).not.toContain("very secret");
  });

  it("replaced by something unusable leave what was in force", async () => {
    saveIssued("swap", await authority.issue({ commonName: "before" }));
    const { port, gateway } = await serve({ "s.test": { mode: "simple", ...certificates("swap") } });
    const subject = async () => (await ask(port, "s.test")).subject;
    expect(await subject()).toMatchObject({ CN: "before" });
    save("swap.crt", "half a fi");
    await eventually(() =>
      gateway.logged.some((line) => line.includes("is not a PEM certificate; what was read before stays in force")),
    );
    expect(await subject()).toMatchObject({ CN: "before" });
    saveIssued("swap", await authority.issue({ commonName: "late", days: [-3, -1] }));
    await eventually(() => gateway.logged.some((line) => line.includes("has expired on")));
    expect(await subject()).toMatchObject({ CN: "before" });
    saveIssued("swap", await authority.issue({ commonName: "after" }));
    let found: unknown;
    await untilStatus("after", async () => {
      found = await subject();
      return { status: String((found as { readonly CN?: unknown }).CN) };
    });
  });
});

/** Asks until the answer is this. */
async function untilStatus(status: string, asked: () => Promise<{ readonly status: string }>): Promise<void> {
  const untilMs = performance.now() + 30_000;
  let last = "";
  while (performance.now() < untilMs) {
    last = (await asked()).status;
    if (last === status) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  expect(last).toBe(status);
}
