/** Signing: General JSON JWS over exact bytes, one signature per signer. */
import { type CryptoKey, GeneralSign } from "jose";
import type { SignatureAlgorithm } from "../../gateway/core/ir/index.ts";

/** Somebody who can sign: a key file here, a hardware module elsewhere. */
export interface Signer {
  readonly kid: string;
  readonly alg: SignatureAlgorithm;
  readonly key: CryptoKey;
}

/** Signs `payload` with every signer; the protected header says alg, kid and typ. */
export async function signDocument(payload: Uint8Array, typ: string, signers: readonly Signer[]): Promise<Uint8Array> {
  const jws = new GeneralSign(payload);
  for (const { alg, kid, key } of signers) jws.addSignature(key).setProtectedHeader({ alg, kid, typ });
  return new TextEncoder().encode(JSON.stringify(await jws.sign()));
}
