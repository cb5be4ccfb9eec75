/**
 * Sets or lifts the steering of ports: a process of its own for a moment, because Node has no setsockopt and a gateway is better off without foreign code.
 * The sockets are inherited, from file descriptor 3 on; an argument each: `<first>/<count>`, or `lift`.
 */
import { endianness } from "node:os";
import koffi from "koffi";
import { programHeader, steeringProgram } from "./program.ts";

const FIRST_FD = 3;
// asm-generic/socket.h
const SOL_SOCKET = 1;
const SO_ATTACH_REUSEPORT_CBPF = 51;
const SO_DETACH_REUSEPORT_BPF = 68;

if (process.platform !== "linux" || endianness() !== "LE" || koffi.sizeof("void *") !== 8)
  throw new Error("connections are steered on 64-bit Linux only");
const setsockopt = koffi
  .load(null)
  .func("int setsockopt(int socket, int level, int option, const void *value, unsigned int bytes)");

for (const [i, what] of process.argv.slice(2).entries()) {
  const failed = what === "lift" ? lift(FIRST_FD + i) : steer(FIRST_FD + i, what);
  if (failed) throw new Error(`setsockopt failed with errno ${koffi.errno()}`);
}

function steer(socket: number, what: string): boolean {
  const [first, count] = what.split("/").map(Number);
  const program = steeringProgram(first ?? 0, count ?? 0);
  const header = programHeader(program, BigInt(koffi.address(program)));
  return setsockopt(socket, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, header, header.length) !== 0;
}

function lift(socket: number): boolean {
  const unused = Buffer.alloc(4);
  return setsockopt(socket, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, unused, unused.length) !== 0;
}
