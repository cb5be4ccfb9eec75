import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { heldBy, type SessionEvent, type SessionState, transition } from "./session.ts";

const v = (version: number) => ({ epoch: 1, version });
const detail = { code: "compile", problems: [{ name: "shop/web/0", reason: "bad regex" }] };

function run(...events: SessionEvent[]) {
  let state: SessionState = { kind: "awaiting-hello" };
  const actions: string[] = [];
  events.forEach((event, index) => {
    const next = transition(state, event, index);
    state = next.state;
    if (next.action?.kind === "offer") actions.push(`offer ${next.action.snapshot.version}`);
    if (next.action?.kind === "close") actions.push(`close: ${next.action.reason}`);
  });
  return { state, actions };
}

describe("a gateway's session", () => {
  test("a new gateway is offered the latest and becomes synced by its ack", () => {
    const { state, actions } = run({ kind: "hello", held: undefined, latest: v(3) }, { kind: "ack", snapshot: v(3) });
    expect(actions).toEqual(["offer 3"]);
    expect(state).toEqual({ kind: "synced", held: v(3), sinceMs: 1 });
  });

  test("a gateway that holds the latest is synced without another byte", () => {
    expect(run({ kind: "hello", held: v(3), latest: v(3) })).toEqual({
      state: { kind: "synced", held: v(3), sinceMs: 0 },
      actions: [],
    });
  });

  test("the same version of another epoch is not the latest", () => {
    expect(run({ kind: "hello", held: { epoch: 0, version: 3 }, latest: v(3) }).actions).toEqual(["offer 3"]);
  });

  test("a refusal keeps what was held, says why, and the next version is offered again", () => {
    const refused = run(
      { kind: "hello", held: v(2), latest: v(3) },
      { kind: "nack", snapshot: v(3), detail, partlyInForce: false },
    );
    expect(refused.state).toMatchObject({ kind: "refused", refused: v(3), held: v(2), detail });
    const again = run(
      { kind: "hello", held: v(2), latest: v(3) },
      { kind: "nack", snapshot: v(3), detail, partlyInForce: false },
      { kind: "published", latest: v(4) },
      { kind: "ack", snapshot: v(4) },
    );
    expect(again.actions).toEqual(["offer 3", "offer 4"]);
    expect(again.state).toMatchObject({ kind: "synced", held: v(4) });
  });

  test("answers about an older offer leave the newer one open", () => {
    const late = run(
      { kind: "hello", held: v(1), latest: v(2) },
      { kind: "published", latest: v(3) },
      { kind: "ack", snapshot: v(2) },
    );
    expect(late.state).toMatchObject({ kind: "offered", offered: v(3), held: v(2) });
    const lateNack = run(
      { kind: "hello", held: v(1), latest: v(2) },
      { kind: "published", latest: v(3) },
      { kind: "nack", snapshot: v(2), detail, partlyInForce: false },
    );
    expect(lateNack.state).toMatchObject({ kind: "offered", offered: v(3), held: v(1) });
  });

  test("in force but for a named listener counts as held, with the problem kept", () => {
    const { state } = run(
      { kind: "hello", held: undefined, latest: v(1) },
      { kind: "nack", snapshot: v(1), detail, partlyInForce: true },
    );
    expect(state).toMatchObject({ kind: "synced", held: v(1), problems: detail });
  });

  test("out of order: anything before hello, or a second hello, closes the stream", () => {
    expect(run({ kind: "ack", snapshot: v(1) }).actions).toEqual(["close: ack before hello"]);
    expect(
      run({ kind: "hello", held: undefined, latest: undefined }, { kind: "hello", held: undefined, latest: undefined }).actions,
    ).toEqual(["close: a second hello on one stream"]);
  });

  test("whatever the order of events, what is held is only ever what the gateway said it holds", () => {
    const ref = fc.integer({ min: 1, max: 4 }).map(v);
    const event: fc.Arbitrary<SessionEvent> = fc.oneof(
      fc.record({ kind: fc.constant("published" as const), latest: ref }),
      fc.record({ kind: fc.constant("ack" as const), snapshot: ref }),
      fc.record({ kind: fc.constant("nack" as const), snapshot: ref, detail: fc.constant(detail), partlyInForce: fc.boolean() }),
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 12 }), (events) => {
        let state = transition({ kind: "awaiting-hello" }, { kind: "hello", held: undefined, latest: undefined }, 0).state;
        const said = new Set<number>();
        for (const next of events) {
          state = transition(state, next, 0).state;
          if (next.kind === "ack" || (next.kind === "nack" && next.partlyInForce)) said.add(next.snapshot.version);
          const held = heldBy(state);
          if (held !== undefined) expect(said).toContain(held.version);
        }
      }),
    );
  });
});
