/**
 * Property tests roll new dice in every run, and a failure tells its seed. In CI the seed is fixed, so that what lands does not depend
 * on luck; `npm run fuzz` and everybody's own runs go on looking. TIDEGATE_SEED repeats a run.
 */
import fc from "fast-check";

const CI_SEED = 20_261_128;
const asked = process.env["TIDEGATE_SEED"];
const seed = asked === undefined ? (process.env["CI"] === undefined ? undefined : CI_SEED) : Number(asked);
if (seed !== undefined) fc.configureGlobal({ ...fc.readConfigureGlobal(), seed });
