/** What a team would write by hand: a router with as many routes as the gateway has, each passed on to the origin. No quota. */
import { Hono } from "hono";

const ROUTES = 1_000;

const app = new Hono<{ Bindings: { readonly ORIGIN: string } }>();
for (let i = 0; i < ROUTES; i += 1) {
  app.all(`/r${i}/*`, async (c) => {
    const { pathname, search } = new URL(c.req.url);
    return await fetch(`${c.env.ORIGIN}${pathname}${search}`, c.req.raw);
  });
}

export default app;
