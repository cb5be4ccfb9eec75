/** New TLS connections, each with one request, none resumed. The certificate's key is ECDSA over P-256. */
import { againstBar } from "../bars.ts";
import { ab } from "../load/ab.ts";
import { envoy } from "../peers/envoy.ts";
import { haproxy } from "../peers/haproxy.ts";
import { nginx } from "../peers/nginx.ts";
import { tidegate } from "../peers/tidegate.ts";
import { BODY_BYTES, FULL_CHAIN, FULL_CHAIN_PATH } from "../workload.ts";
import { contenders, type Row } from "./row.ts";

/**
 * Some ten thousand connections for each proxy. At under a thousand a second a runtime takes that long to compile what each of them needs; what is
 * asked here is how a service fares that has been up for more than a few seconds.
 */
const SERVED_SECONDS = 12;

const GENERATOR = ab({ path: FULL_CHAIN_PATH, bytes: BODY_BYTES });

export const tlsConnections: Row = {
  name: "tls-connections",
  label: "new TLS connections",
  title: "new TLS connections, full chain: one request each, none resumed, 16 at a time",
  unit: "connections",
  origin: "http",
  generator: GENERATOR,
  served: { generator: GENERATOR, seconds: SERVED_SECONDS },
  contenders: contenders({ downstream: "tls", upstream: "http1", ...FULL_CHAIN }, tidegate, nginx, haproxy, envoy),
  bars: ({ rows }) => [
    againstBar({ what: "new TLS connections/s against nginx", result: rows["tls-connections"], other: "nginx", bar: 0.7 }),
  ],
};
