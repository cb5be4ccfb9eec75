/** All cases by group. */
import type { Case } from "../case.ts";
import { balancing } from "./balancing.ts";
import { conditions } from "./conditions.ts";
import { cors } from "./cors.ts";
import { destinations } from "./destinations.ts";
import { failures } from "./failures.ts";
import { faults } from "./faults.ts";
import { forwarding } from "./forwarding.ts";
import { grpc } from "./grpc.ts";
import { headers } from "./headers.ts";
import { hops } from "./hops.ts";
import { hosts } from "./hosts.ts";
import { messages } from "./messages.ts";
import { paths } from "./paths.ts";
import { quotas } from "./quotas.ts";
import { responses } from "./responses.ts";
import { retries } from "./retries.ts";

export const CASES: { readonly [group: string]: readonly Case[] } = {
  hosts,
  paths,
  conditions,
  destinations,
  headers,
  forwarding,
  hops,
  messages,
  responses,
  cors,
  faults,
  grpc,
  balancing,
  retries,
  failures,
  quotas,
};
