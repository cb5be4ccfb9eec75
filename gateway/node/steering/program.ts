/**
 * Which of the sockets that share a port gets the next connection: a classic BPF program that Linux runs in place of its hash (socket(7),
 * SO_ATTACH_REUSEPORT_CBPF). Sockets are numbered in the order in which they began to listen. A number that there is no socket for means the hash again.
 */

/** `struct sock_filter`: u16 code, u8 jt, u8 jf, u32 k. */
const INSTRUCTION_BYTES = 8;
// bpf_common.h and filter.h of Linux.
const LOAD_WORD = 0x20;
const MODULO = 0x94;
const ADD = 0x04;
const RETURN = 0x16;
/** SKF_AD_OFF + SKF_AD_RANDOM: a random number. */
const RANDOM = -0x1000 + 56;

/** Spreads connections over `count` sockets from number `first` on. */
export function steeringProgram(first: number, count: number): Buffer {
  const steps = [
    [LOAD_WORD, RANDOM],
    [MODULO, count],
    [ADD, first],
    [RETURN, 0],
  ] as const;
  const program = Buffer.alloc(steps.length * INSTRUCTION_BYTES);
  for (const [i, [code, operand]] of steps.entries()) {
    program.writeUInt16LE(code, i * INSTRUCTION_BYTES);
    program.writeInt32LE(operand, i * INSTRUCTION_BYTES + 4);
  }
  return program;
}

/** `struct sock_fprog` of a 64-bit machine: how many instructions, and where. */
export function programHeader(program: Buffer, address: bigint): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt16LE(program.length / INSTRUCTION_BYTES, 0);
  header.writeBigUInt64LE(address, 8);
  return header;
}
