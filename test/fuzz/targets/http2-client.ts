/** The HTTP/2 codec as a client: total, bounded, indifferent to splits, whatever a server says. */
import { ACK, frame, SETTINGS, settings } from "../../support/http2-frames.ts";
import { RESPONSE_CASES } from "../../wire/http2-cases.ts";
import { answers } from "../http2-grammar.ts";
import { readEitherWay } from "../http2-reading.ts";
import type { FuzzTarget } from "../target.ts";

let inputs = 0;
let responses = 0;

export const target: FuzzTarget = {
  name: "http2-client",
  seeds: RESPONSE_CASES.map(([, , bytes]) => Buffer.concat([settings(), frame(SETTINGS, ACK, 0), ...bytes])),
  tokens: [
    "\0\0\0",
    "\0\0\x04\x08\0",
    "\0\0\x08\x06\0",
    "\x88",
    "\x40\x01a\x01b",
    "\xbe",
    "\0\0\0\x01",
    "\0\0\x08\x07\0\0\0\0\0",
    "\x20",
  ],
  generate: answers,
  check(input, dice) {
    inputs++;
    responses += readEitherWay("client", input, dice).lines.filter((line) => line.startsWith("response")).length;
  },
  summary: () => `${responses} response heads in ${inputs} inputs`,
};
