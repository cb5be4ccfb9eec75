/** Snapshots of a given size for the microbenchmarks. */
import type { Snapshot } from "../../../gateway/core/ir/index.ts";
import { exact, forward, NO_RETRY, prefix, regex, route, snapshot, virtualHost } from "../../conformance/build.ts";

/** `total` routes over hosts of `perHost` each: mostly prefixes, some exact paths, some with headers, some regexes. */
export function mesh(total: number, perHost: number): Snapshot {
  const action = forward("pair", {
    retry: { ...NO_RETRY, attempts: 2, on: ["connect-failure", "refused-stream", "unavailable", "cancelled"] },
  });
  const hosts = Array.from({ length: Math.ceil(total / perHost) }, (_, h) =>
    virtualHost(
      [`h${h}.example.com`],
      Array.from({ length: Math.min(perHost, total - h * perHost) }, (_, i) => {
        const base = `/svc-${i}/`;
        const path = i % 50 === 49 ? regex(`${base}v[0-9]+/.*`) : i % 10 === 9 ? exact(`${base}exact`) : prefix(base);
        const headers = i % 20 === 19 ? { headers: [{ name: "end-user", match: exact("jason") }] } : {};
        return route(`demo/h${h}/${i}`, [{ path, ...headers }], { action });
      }),
    ),
  );
  return snapshot(hosts);
}
