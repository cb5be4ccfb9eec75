/** The page a person looks at: asks details and reviews, through the mesh, and shows what came back and how long it took. */
import type { IncomingHttpHeaders } from "node:http";
import { type Details, type Part, productPage } from "./page.ts";
import type { Reviews } from "./reviews.ts";
import { callMesh, type Handler, type MeshAddress } from "./service.ts";

export function productpage(mesh: MeshAddress): Handler {
  return async ({ path, headers }) => {
    if (path !== "/productpage" && path !== "/")
      return { status: 404, type: "text/html; charset=utf-8", body: "<h1>Not found</h1>" };
    const [details, reviews] = await Promise.all([
      part<Details>(mesh, "/details/0", headers),
      part<Reviews>(mesh, "/reviews/0", headers),
    ]);
    const user = headers["end-user"];
    return {
      type: "text/html; charset=utf-8",
      body: productPage({ user: typeof user === "string" ? user : undefined, details, reviews }),
    };
  };
}

async function part<T>(mesh: MeshAddress, path: string, headers: IncomingHttpHeaders): Promise<Part<T>> {
  const started = performance.now();
  try {
    const { status, body } = await callMesh(mesh, path, headers);
    const ms = performance.now() - started;
    return status === 200
      ? { ok: true, value: JSON.parse(body) as T, ms }
      : { ok: false, reason: `the service answered ${status}`, ms };
  } catch (error) {
    return { ok: false, reason: error instanceof Error ? error.message : String(error), ms: performance.now() - started };
  }
}
