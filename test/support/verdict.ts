/** What a test asks a verifier in another runtime. */
import type { AcceptContext } from "../../gateway/core/ir/index.ts";

/** Bytes are base64. */
export interface VerdictRequest {
  readonly pin: string;
  readonly root: string;
  readonly manifest: string;
  /** By hash; absent: the manifest alone is judged. */
  readonly chunks?: Readonly<Record<string, string>>;
  readonly context: Omit<AcceptContext, "root" | "accepted" | "floor" | "held"> &
    Partial<Pick<AcceptContext, "accepted" | "floor">>;
}
