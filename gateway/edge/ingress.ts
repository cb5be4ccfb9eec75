/** The ingress Worker: entry for requests, and the script in which a site's Durable Objects live. */
import { readIngress } from "./env.ts";
import { IngressGateway } from "./gateway.ts";
import { workerLog } from "./log.ts";

// The site's Durable Objects, one export per class.
export { QuotaBank } from "./bank-do.ts";
export { SnapshotRelay } from "./relay-do.ts";
export { TunnelHub } from "./tunnel-do.ts";

type Ready = { readonly gateway: IngressGateway } | { readonly problem: string };

/** Bindings are the same for all requests of an isolate. */
let ready: Ready | undefined;

export default {
  fetch(request: Request, env: object, context: ExecutionContext): Response | Promise<Response> {
    ready ??= prepare(env);
    if ("gateway" in ready) return ready.gateway.fetch(request, context);
    return new Response("this gateway is not set up: its log says what is missing\n", { status: 500 });
  },
};

function prepare(env: object): Ready {
  const settings = readIngress(env);
  if (settings.ok) return { gateway: new IngressGateway(settings.value, env) };
  const problem = settings.error.map(({ path, problem }) => `${path} ${problem}`).join("; ");
  workerLog("error", "bindings of the ingress Worker are missing or wrong", { problem });
  return { problem };
}
