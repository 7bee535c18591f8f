// Runs one of a script's cases: `node SCRIPT.mjs CASE` reads its arguments as one JSON array from standard input, prints
// one line of JSON with what a program would have seen, and ends when standard input does.
import readline from "node:readline";

export async function run(cases) {
  const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const { value } = await lines.next();
  const seen = await cases[process.argv[2]](...JSON.parse(value));
  process.stdout.write(`${JSON.stringify(seen)}\n`);
  await lines.next();
  process.exit(0);
}
