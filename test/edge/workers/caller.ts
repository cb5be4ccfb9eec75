/** A Worker that calls outside as it is told, and tells what came of it. */
import { connect } from "cloudflare:sockets";

interface Env {
  readonly EGRESS?: Fetcher;
  readonly STRANGER?: Fetcher;
  readonly NOBODY?: Fetcher;
}

interface Call {
  /** A binding; `fetch`: the global one; `connect`: a TCP connection. */
  readonly by: keyof Env | "fetch" | "connect";
  readonly url: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly cf?: RequestInitCfProperties;
  readonly redirect?: "follow" | "manual";
}

export default {
  async fetch(request, env): Promise<Response> {
    try {
      return Response.json(await called(await request.json<Call>(), env));
    } catch (error) {
      return Response.json({ error: String(error) });
    }
  },
} satisfies ExportedHandler<Env>;

async function called(
  { by, url, method = "GET", headers = {}, body, cf, redirect = "manual" }: Call,
  env: Env,
): Promise<unknown> {
  if (by === "connect") {
    const socket = connect(url);
    await socket.opened;
    return { opened: true };
  }
  const init = {
    method,
    headers: { ...headers },
    redirect,
    ...(body === undefined ? {} : { body }),
    ...(cf === undefined ? {} : { cf }),
  };
  const fetcher = by === "fetch" ? { fetch: (...args: Parameters<typeof fetch>) => fetch(...args) } : env[by];
  if (fetcher === undefined) throw new Error(`there is no binding ${by}`);
  const response = await fetcher.fetch(url, init);
  const { webSocket, status } = response;
  if (webSocket !== null) return { status, message: await firstMessage(webSocket) };
  return { status, headers: Object.fromEntries(response.headers), body: await response.text() };
}

function firstMessage(socket: WebSocket): Promise<string> {
  return new Promise((resolve) => {
    socket.addEventListener("message", ({ data }) => {
      resolve(String(data));
      socket.close();
    });
    socket.accept();
    socket.send("hello");
  });
}
