/** The smallest Worker with what the edge builds on: a Durable Object with SQLite, called over RPC. */
import { DurableObject } from "cloudflare:workers";

interface Env {
  readonly COUNTER: DurableObjectNamespace<Counter>;
}

export class Counter extends DurableObject<Env> {
  next(): number {
    const { sql } = this.ctx.storage;
    sql.exec("create table if not exists count (n integer primary key autoincrement)");
    return Number(sql.exec("insert into count default values returning n").one()["n"]);
  }
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const stub = env.COUNTER.get(env.COUNTER.idFromName("only"));
    return Response.json({ url: request.url, count: await stub.next() });
  },
} satisfies ExportedHandler<Env>;
