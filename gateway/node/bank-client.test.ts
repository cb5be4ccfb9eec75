import { expect, it } from "vitest";
import { BankClient, bankUrlProblem, MAX_BANK_CALL_MS } from "./bank-client.ts";

it.each([
  ["https://edge.example.com/.tidegate/bank", undefined],
  ["http://127.0.0.1:8787/.tidegate/bank", undefined],
  ["http://[::1]:1/", undefined],
  ["http://localhost/", undefined],
  ["http://edge.example.com/", "in the clear"],
  ["http://127.0.0.1.example.com/", "in the clear"],
  ["ftp://127.0.0.1/", "in the clear"],
  ["https://user:secret@edge.example.com/", "holds credentials"],
  ["edge.example.com", "is not a URL"],
])("a token goes over TLS, or to this machine: %s", (url, problem) => {
  if (problem === undefined) expect(bankUrlProblem(url)).toBeUndefined();
  else expect(bankUrlProblem(url)).toContain(problem);
});

it("is not made for any other", () => {
  const options = { url: "http://edge.example.com/", token: "t", now: () => 0, log: () => undefined };
  expect(() => new BankClient(options)).toThrow(RangeError);
});

it("gives a call up before its lease could be of any use", () => {
  expect(MAX_BANK_CALL_MS).toBeLessThanOrEqual(5000);
});
