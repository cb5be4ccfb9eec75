/** Stands for somebody else's API on the internet: the only outside host that the sample's egress policy allows. */
import type { Handler } from "./service.ts";

export const isbn: Handler = ({ path }) => {
  const number = /^\/books\/(\d{13})$/.exec(path)?.[1];
  return number === undefined
    ? { status: 404, body: JSON.stringify({ error: `nothing at ${path}` }) }
    : { body: JSON.stringify({ isbn: number, publisher: "Penguin Classics", language: "English" }) };
};
