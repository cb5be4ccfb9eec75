/**
 * What it takes to run an edge site: the Worker's code as one bundle, and the configuration of the runtime that runs it.
 * Never talks to a site (that is distribution's), and never holds a secret longer than it takes to write it where it is wanted.
 */
export { type Bundle, bundleWorker } from "./bundle.ts";
export { type WorkerdBinding, type WorkerdConfig, type WorkerdSocket, type WorkerdWorker, workerdConfig } from "./workerd.ts";
export { workerdBinary } from "./workerd-binary.ts";
