/** A load generator as data: the program to run and how to read what it prints, so that measuring is written once. */
import type { Part } from "../../tools/ensure.ts";

export interface Load {
  /** What was answered in the time of the run. */
  readonly done: number;
  /** Of them, per second. */
  readonly rate: number;
  readonly p50Ms?: number;
  readonly p99Ms?: number;
}

export interface Generator {
  /** As people know it. */
  readonly name: string;
  /** Programs that have to be there. */
  readonly needs: readonly Part[];
  /** One real request, the answer looked at closely. @returns what is wrong with it, or undefined. */
  check(port: number): Promise<string | undefined>;
  /** @param directory where the payload files of this run lie. */
  command(port: number, seconds: number, directory: string): readonly string[];
  /** @throws Trouble when anything was refused or failed: such a round does not count. */
  read(output: string): Load;
}

/** Why a round does not count. */
export class Trouble extends Error {}
