/** A Worker beside the edge site. It knows no way out but the egress gateway, which lets through what an EgressPolicy lists for it. */
interface Env {
  readonly EGRESS: { fetch(url: string): Promise<Response> };
}

export default {
  /** `/<host>/<path>`: fetches `http://<host>/<path>` through the gateway and hands on what it says. */
  async fetch(request: Request, { EGRESS }: Env): Promise<Response> {
    const wanted = new URL(request.url).pathname.slice(1);
    if (!wanted.includes("/")) return new Response("try /localhost:9086/books/9780141439518\n", { status: 404 });
    return await EGRESS.fetch(`http://${wanted}`);
  },
};
