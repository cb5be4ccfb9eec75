import { expect, it } from "vitest";
import { TurnEnd } from "./turn-end.ts";

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

it("does at the end of the turn what was put off, once, and what is put off meanwhile in the next", async () => {
  const turnEnd = new TurnEnd();
  const done: string[] = [];
  turnEnd.add({
    endOfTurn: () => {
      done.push("first");
      turnEnd.add({ endOfTurn: () => done.push("later") });
    },
  });
  turnEnd.add({ endOfTurn: () => done.push("second") });
  expect(done).toEqual([]);
  await nextTurn();
  expect(done).toEqual(["first", "second"]);
  await nextTurn();
  expect(done).toEqual(["first", "second", "later"]);
  await nextTurn();
  expect(done).toHaveLength(3);
});
