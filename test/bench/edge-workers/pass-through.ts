/** The least that a Worker in front of an origin can do: the speed of light of this runtime's `fetch`. */
interface Env {
  readonly ORIGIN: string;
}

export default {
  async fetch(request: Request, { ORIGIN }: Env): Promise<Response> {
    const { pathname, search } = new URL(request.url);
    return await fetch(`${ORIGIN}${pathname}${search}`, request);
  },
} satisfies ExportedHandler<Env>;
