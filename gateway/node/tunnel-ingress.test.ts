import { expect, test } from "vitest";
import { testListener } from "../../test/support/gateway.ts";
import type { ListenerServer, ServerTls } from "../core/ir/index.ts";
import { ingressTarget } from "./tunnel-ingress.ts";

const certificates = {
  certificateFile: "/c.pem",
  privateKeyFile: "/k.pem",
  minVersion: "TLSv1.2",
  maxVersion: "TLSv1.3",
  cipherSuites: [],
} as const;
const client = { caFile: "/ca.pem", subjectAltNames: [], spkiPins: [], hashPins: [], insecureSkipVerify: false };
const server = (name: string, tls: ServerTls): ListenerServer => ({ name, serverNames: [name], routeTable: "main", tls });
const mutual = server("m.test", { mode: "mutual", ...certificates, client });
const simple = server("s.test", { mode: "simple", ...certificates });

test("requests out of tunnels go to a listener in clear, or to a server that asks for no certificate", () => {
  const https = (port: number, servers: readonly ListenerServer[]) => testListener(port, { protocol: "https", servers });
  expect(ingressTarget([https(1, [simple]), testListener(2)], undefined)).toMatchObject({
    endpoint: { port: 2 },
    tls: undefined,
  });
  expect(ingressTarget([https(1, [mutual]), https(3, [mutual, simple])], undefined)).toMatchObject({
    endpoint: { port: 3 },
    tls: { serverName: "s.test" },
  });
  expect(ingressTarget([https(1, [mutual])], undefined)).toBeUndefined();
});

test("a listener that wants to be told who comes is told by a PROXY header", () => {
  expect(ingressTarget([testListener(1, { proxyProtocol: "accept" })], undefined)?.proxyProtocol).toBe("v2");
  expect(ingressTarget([testListener(1)], undefined)?.proxyProtocol).toBeUndefined();
});
