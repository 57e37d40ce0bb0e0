// Evaluates JSONata with the language's own implementation: [{body, bindings}] from standard input, the values to standard output.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import jsonata from "jsonata";

const values = [];
for (const { body, bindings } of JSON.parse(readFileSync(0, "utf8"))) {
  const expression = jsonata(body);
  expression.registerFunction("parse", (text) => JSON.parse(text));
  expression.registerFunction("hash", (text, name) => createHash(name.replace("-", "").toLowerCase()).update(text).digest("hex"));
  values.push((await expression.evaluate(undefined, bindings)) ?? null);
}
process.stdout.write(JSON.stringify(values));
