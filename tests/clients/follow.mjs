// Follows the transitions by one of the public clients, as a frontend would, and prints the cursor of each.
//
//     node follow.mjs graphql-ws|graphql-sse URL COUNT
//
// The clients connect again by themselves. Where to go on is said by `after`, which is sent anew each time.

import { createClient as overSse } from "graphql-sse";
import { createClient as overSocket } from "graphql-ws";

const [library, url, count] = process.argv.slice(2);
const soon = () => new Promise((resolve) => setTimeout(resolve, 20));
const retries = { retryAttempts: Infinity, retryWait: soon, retry: soon };
const client =
  library === "graphql-ws"
    ? overSocket({ url: url.replace("http:", "ws:"), shouldRetry: () => true, ...retries })
    : overSse({ url, ...retries });

const variables = { after: "0" };
const query = "subscription ($after: String) { transitions(after: $after) { cursor } }";
let taken = 0;

client.subscribe(
  { query, variables },
  {
    next({ data, errors }) {
      if (errors) throw new Error(JSON.stringify(errors));
      variables.after = data.transitions.cursor;
      process.stdout.write(`${variables.after}\n`, () => {
        if (++taken === Number(count)) process.exit(0);
      });
    },
    error(error) {
      console.error(error);
      process.exit(1);
    },
    complete() {
      console.error("complete, though a stream never is");
      process.exit(1);
    },
  },
);
