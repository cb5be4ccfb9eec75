import { expect, it } from "vitest";
import { programHeader, steeringProgram } from "./program.ts";

/** As the kernel would: the accumulator starts with what is loaded. */
function run(program: Buffer, random: number): number {
  let accumulator = 0;
  for (let at = 0; at < program.length; at += 8) {
    const [code, operand] = [program.readUInt16LE(at), program.readInt32LE(at + 4)];
    if (code === 0x20) accumulator = random;
    else if (code === 0x94) accumulator %= operand;
    else if (code === 0x04) accumulator += operand;
    else return accumulator;
  }
  throw new Error("the program does not return");
}

it("names each of the sockets and no other, evenly", () => {
  const program = steeringProgram(2, 3);
  const hits = new Map<number, number>();
  for (let random = 0; random < 300; random++) {
    const socket = run(program, random);
    hits.set(socket, (hits.get(socket) ?? 0) + 1);
  }
  expect([...hits]).toEqual([
    [2, 100],
    [3, 100],
    [4, 100],
  ]);
});

it("is described as the kernel reads it", () => {
  const header = programHeader(steeringProgram(0, 1), 0x1234_5678_9abcn);
  expect([header.length, header.readUInt16LE(0), header.readBigUInt64LE(8)]).toEqual([16, 4, 0x1234_5678_9abcn]);
});
