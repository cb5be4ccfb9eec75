/**
 * The IR: the contract between control plane (translates configuration into it) and data plane (compiles it into tables).
 * Plain JSON-able data, every default filled in, every name resolved, all precedence settled. It names secrets and never holds them.
 */
export type * from "./cluster.ts";
export type * from "./common.ts";
export type * from "./listener.ts";
export * from "./manifest.ts";
export type * from "./policy.ts";
export type * from "./route.ts";
export * from "./settings.ts";
