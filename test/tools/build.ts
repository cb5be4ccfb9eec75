/** `npm run build`: the gateway as it is released, in `dist/gateway`. */
import { rmSync } from "node:fs";
import { relative, resolve } from "node:path";
import { buildGateway } from "./release.ts";

const directory = resolve(import.meta.dirname, "..", "..", "dist", "gateway");
rmSync(directory, { recursive: true, force: true });
const { outputs } = await buildGateway(directory);
const bytes = Object.values(outputs).reduce((sum, output) => sum + output.bytes, 0);
process.stdout.write(
  `${(bytes / 1_000_000).toFixed(1)} MB in ${Object.keys(outputs).length} files; run: node ${relative(process.cwd(), directory)}/main.js --help\n`,
);
