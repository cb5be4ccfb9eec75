/** Reviews in three versions: v1 without stars, v2 with black ones, v3 with red ones. */
import { callMesh, type Handler, type MeshAddress } from "./service.ts";

export type Version = "v1" | "v2" | "v3";

export interface Reviews {
  readonly id: number;
  readonly version: Version;
  readonly reviews: readonly { readonly reviewer: string; readonly text: string; readonly rating?: Rating }[];
}

export type Rating = { readonly stars: number; readonly color: "black" | "red" } | { readonly error: string };

const TEXTS = [
  {
    reviewer: "Reviewer1",
    text: "An extremely entertaining play by Shakespeare. The slapstick humour is refreshing!",
  },
  {
    reviewer: "Reviewer2",
    text: "Absolutely fun and entertaining. The play lacks thematic depth when compared to other plays by Shakespeare.",
  },
] as const;

export function reviews(version: Version, mesh: MeshAddress): Handler {
  return async ({ path, headers }) => {
    if (path !== "/reviews/0") return { status: 404, body: JSON.stringify({ error: `no reviews at ${path}` }) };
    const stars = version === "v1" ? undefined : await callMesh(mesh, "/ratings/0", headers).catch(() => undefined);
    const found: Reviews = {
      id: 0,
      version,
      reviews: TEXTS.map((review) =>
        version === "v1" ? review : { ...review, rating: ratingOf(version, review.reviewer, stars) },
      ),
    };
    return { body: JSON.stringify(found) };
  };
}

function ratingOf(version: "v2" | "v3", reviewer: string, answer: { status: number; body: string } | undefined): Rating {
  if (answer?.status !== 200) return { error: "Ratings service is currently unavailable" };
  const { ratings } = JSON.parse(answer.body) as { ratings: Record<string, number> };
  return { stars: ratings[reviewer] ?? 0, color: version === "v2" ? "black" : "red" };
}
