import { expect, test } from "vitest";
import { Roster } from "./roster.ts";

const someone = (name: string) => ({ name, seat: -1 });

test("has who has come and not gone, each once, in whatever order they go", () => {
  const roster = new Roster<ReturnType<typeof someone>>();
  const [a, b, c] = [someone("a"), someone("b"), someone("c")];
  for (const one of [a, b, c, a]) roster.add(one);
  expect([...roster].map(({ name }) => name).sort()).toEqual(["a", "b", "c"]);
  expect(roster.delete(a)).toBe(true);
  expect(roster.delete(a)).toBe(false);
  expect([...roster].map(({ name }) => name).sort()).toEqual(["b", "c"]);
  expect(roster.delete(c)).toBe(true);
  expect(roster.delete(b)).toBe(true);
  expect(roster.size).toBe(0);
  roster.add(a);
  expect([...roster]).toEqual([a]);
});

test("shows all who were there when it was asked, whoever goes meanwhile", () => {
  const roster = new Roster<ReturnType<typeof someone>>();
  for (const name of ["a", "b", "c", "d"]) roster.add(someone(name));
  const seen: string[] = [];
  for (const one of roster) {
    seen.push(one.name);
    roster.delete(one);
  }
  expect(seen).toEqual(["a", "b", "c", "d"]);
  expect(roster.size).toBe(0);
});
