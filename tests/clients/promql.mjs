// Of the PromQL expressions on standard input, a JSON array, those that Prometheus's own grammar does not read.
import { readFileSync } from "node:fs";
import { parser } from "@prometheus-io/lezer-promql";

function reads(expression) {
  let sound = true;
  parser.parse(expression).iterate({ enter: (node) => { sound &&= !node.type.isError; } });
  return sound;
}

console.log(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).filter((each) => !reads(each))));
