import { expect, test } from "vitest";
import { CertificateExpiry, EXPIRY_WARNINGS_MS } from "./certificate-expiry.ts";

test("tells the end of each certificate once, and warns ahead of it once a threshold", () => {
  const told: string[] = [];
  const expiry = new CertificateExpiry({
    expires: (file, seconds) => told.push(`${file} ${seconds}`),
    warn: (file, notAfterMs) => told.push(`warn ${file} ${notAfterMs}`),
  });
  const [first = 0, last = 0] = EXPIRY_WARNINGS_MS;
  const end = 100 * first;
  const shown = [{ file: "/a.pem", notBeforeMs: 0, notAfterMs: end }];
  const look = (unixMs: number): string[] => {
    expiry.look(shown, unixMs);
    return told.splice(0);
  };
  expect(look(0)).toEqual([`/a.pem ${end / 1000}`]);
  expect(look(end - first - 1)).toEqual([]);
  expect(look(end - first)).toEqual([`warn /a.pem ${end}`]);
  expect(look(end - first + 1)).toEqual([]);
  expect(look(end - last)).toEqual([`warn /a.pem ${end}`]);
  expect(look(end - 1)).toEqual([]);
  expect(look(end + 1)).toEqual([]);
  // Renewed, and taken away.
  shown[0] = { file: "/a.pem", notBeforeMs: 0, notAfterMs: 2 * end };
  expect(look(end + 1)).toEqual([`/a.pem ${(2 * end) / 1000}`]);
  shown.pop();
  expect(look(end + 2)).toEqual(["/a.pem 0"]);
  expect(look(end + 3)).toEqual([]);
});
