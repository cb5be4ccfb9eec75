/** Stars by reviewer. */
import type { Handler } from "./service.ts";

export const ratings: Handler = ({ path }) =>
  path === "/ratings/0"
    ? { body: JSON.stringify({ id: 0, ratings: { Reviewer1: 5, Reviewer2: 4 } }) }
    : { status: 404, body: JSON.stringify({ error: `no ratings at ${path}` }) };
